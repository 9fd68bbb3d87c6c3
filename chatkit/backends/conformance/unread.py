"""Conformance: the mentions of a name over all rooms, and what it has not read."""

# ruff: noqa: D103 - a case's name states the requirement

from chatkit.backends.conformance.suite import Factory, case, drafts_in, expect, numbers_of
from chatkit.core.backend import MentionPosition, RoomUnread
from chatkit.core.message_state import Act
from chatkit.core.model import Draft
from chatkit.core.name_range import NameRange, names_with, range_of

MANY = 120


@case
async def mentions_of_all_rooms_come_newest_first(factory: Factory) -> None:
    async with factory() as backend:
        for n in range(6):
            await backend.append(
                [
                    Draft("ab"[n % 2], "ann", f"{n} @bob", mentions=("bob",)),
                    *drafts_in("c", "nobody"),
                    Draft("c", "ann", "@bo @bob2", mentions=("bo", "bob2", "BOB", "b%b")),
                ]
            )
        found = await backend.read_mentions("bob")
        expect(sorted(message.body for message in found), [f"{n} @bob" for n in range(6)], "the mentions")
        positions = [MentionPosition(message.time_ms, message.room, message.seq) for message in found]
        expect(positions, sorted(positions, reverse=True), "their order")
        pages = []
        before: MentionPosition | None = None
        while page := await backend.read_mentions("bob", before=before, limit=2):
            pages.append(list(page))
            before = MentionPosition(page[-1].time_ms, page[-1].room, page[-1].seq)
        expect(pages, [list(found[:2]), list(found[2:4]), list(found[4:])], "the pages")
        for within, expected in (
            ([range_of("a"), range_of("none")], {"a"}),
            ([names_with("b")], {"b"}),
            ([NameRange("", "b")], {"a"}),
            ([NameRange("a\x01")], {"b"}),
            ([], set()),
        ):
            found_within = await backend.read_mentions("bob", within=within)
            expect(list(found_within), [message for message in found if message.room in expected], f"within {within}")
        expect(numbers_of(await backend.read_mentions("b%b", limit=1)), [12], "a name with a wildcard")
        expect(list(await backend.read_mentions("nobody")), [], "a name that is not mentioned")


@case
async def a_mention_is_that_of_the_newest_text(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(
            [
                Draft("a", "ann", "@bob", mentions=("bob",)),
                Draft("a", "ann", "hi"),
                Draft("a", "ann", "@bob", mentions=("bob",)),
                Draft("a", "ann", "@cat", of=1, act=Act.EDIT, mentions=("cat",)),
                Draft("a", "ann", "hi @bob", of=2, act=Act.EDIT, mentions=("bob",)),
                Draft("a", "ann", "👍", of=2, act=Act.REACT),
            ]
        )
        found = await backend.read_mentions("bob")
        expect([(message.seq, message.body) for message in found], [(3, "@bob"), (2, "hi @bob")], "bob's mentions")
        expect([message.state is None for message in found], [True, False], "their state")
        expect(numbers_of(await backend.read_mentions("cat")), [1], "cat's mentions")
        await backend.redact("a", 2)
        expect(numbers_of(await backend.read_mentions("bob")), [3], "bob's mentions after a redaction")
        await backend.trim("a", keep=1)
        expect(list(await backend.read_mentions("bob")), [], "bob's mentions after a trim")
        expect(list(await backend.read_mentions("cat")), [], "cat's mentions after a trim")


@case
async def unread_messages_are_counted_after_the_markers(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*drafts_in("a", *range(5)), *drafts_in("b", "one"), *drafts_in("c", "one")])
        await backend.append(
            [
                Draft("a", "bob", "my own"),
                Draft("a", "ann", "👍", of=1, act=Act.REACT),
                Draft("a", "ann", "a reply @bob", of=1, mentions=("bob",)),
                Draft("c", "ann", "@bob", mentions=("bob",)),
                Draft("d", "ann", "@cat", mentions=("cat",)),
            ]
        )
        await backend.redact("a", 4)
        found = await backend.count_unread("bob", {"a": 2, "b": 1, "none": 3})
        expect(
            list(found),
            [RoomUnread("a", 2, 8, 3, 1), RoomUnread("b", 1, 1, 0, 0), RoomUnread("c", 0, 2, 2, 1)],
            "what bob has not read",
        )
        expect(list(await backend.count_unread("eve", {})), [], "what a name without markers has not read")
        expect(list(await backend.count_unread("bob", {"a": 99})), [
            RoomUnread("a", 99, 8, 0, 0), RoomUnread("c", 0, 2, 2, 1)
        ], "a marker beyond the end")  # fmt: skip
        await backend.append([Draft("e", "ann", "@bob", mentions=("bob",)) for _ in range(MANY)])
        (most,) = [each for each in await backend.count_unread("bob", {}, limit=100) if each.room == "e"]
        expect(most, RoomUnread("e", 0, MANY, 100, 100), "counts that stop at the limit")


@case
async def unread_messages_of_many_rooms_are_counted_at_once(factory: Factory) -> None:
    async with factory() as backend:
        rooms = [f"room{n:03}" for n in range(200)]
        await backend.append([Draft(room, "ann", str(n)) for room in rooms for n in range(3)])
        found = await backend.count_unread("bob", dict.fromkeys(rooms, 1))
        expect(list(found), [RoomUnread(room, 1, 3, 2, 0) for room in rooms], "two hundred rooms")
