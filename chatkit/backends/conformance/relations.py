"""Conformance: messages that refer to earlier ones, and the state that a folded read shows."""

# ruff: noqa: D103 - a case's name states the requirement

from collections.abc import Sequence

from chatkit.backends.conformance.suite import Factory, case, check, drafts_in, expect, numbers_of, shared_case, until
from chatkit.core.backend import Backend, Filter, MessageRedacted
from chatkit.core.message_state import Act, Edit, MessageState, Reaction
from chatkit.core.model import Draft, Message
from chatkit.core.relations import fold

THUMB, HEART = "👍", "❤️"
MANY = 250  # more than a page, and than a reaction lists names


def change(act: Act | None, of: int, body: str = "", sender: str = "ann", **more: object) -> Draft:
    """Make a draft that refers to message `of` of the room `a`."""
    return Draft("a", sender, body, of=of, act=act, **more)  # type: ignore[arg-type]


async def folded(backend: Backend, room: str = "a", where: Filter | None = None) -> Sequence[Message]:
    """Return all messages of a room in their current state."""
    return (await backend.read(room, after=0, limit=1_000, where=where, folded=True)).messages


async def state_of(backend: Backend, seq: int) -> MessageState | None:
    """Return the state of a message of the room `a`."""
    (message,) = (await backend.read("a", after=seq - 1, before=seq + 1, limit=1, folded=True)).messages
    return message.state


@case
async def an_entry_that_refers_to_another_keeps_its_parts(factory: Factory) -> None:
    async with factory() as backend:
        drafts = [
            Draft("a", "ann", "hi @bob", mentions=("bob", "cät")),
            change(None, 1, "a reply", "bob", data={"n": 1}, key="k", verified=True),
            change(Act.EDIT, 1, "hello @cät", mentions=("cät",)),
            change(Act.REACT, 1, THUMB, "bob", bot=True),
            change(Act.PIN, 1),
        ]
        receipts = await backend.append(drafts)
        expect([receipt.message for receipt in receipts], list((await backend.read("a")).messages), "the log")
        page = await backend.read("a", after=0, limit=10)
        parts = [(message.of, message.act, message.mentions, message.state) for message in page.messages]
        expect(
            parts,
            [
                (None, None, ("bob", "cät"), None),
                (1, None, (), None),
                (1, Act.EDIT, ("cät",), None),
                (1, Act.REACT, (), None),
                (1, Act.PIN, (), None),
            ],
            "the parts of the log as it was written",
        )
        (again,) = await backend.append([drafts[1]])
        check(again.repeat and not again.conflict, "the same reply with its key is a repeat")
        (other,) = await backend.append([change(None, 2, "a reply", "bob", data={"n": 1}, key="k", verified=True)])
        check(other.conflict, "a reply to another message with the key is a conflict")


@case
async def a_folded_read_shows_the_state_without_the_changes(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*drafts_in("a", "one", "two"), *drafts_in("b", "beside")])
        receipts = await backend.append(
            [
                change(Act.EDIT, 1, "uno"),
                change(Act.REACT, 1, HEART, "cat"),
                change(Act.REACT, 1, THUMB, "bob"),
                change(Act.REACT, 1, THUMB, "ann"),
                change(Act.REACT, 1, THUMB, "bob"),
                change(None, 1, "a reply", "bob"),
                change(Act.EDIT, 1, "eins", mentions=("bob",)),
                change(Act.PIN, 2, sender="bob"),
                change(Act.REACT, 2, THUMB, "bob"),
                change(Act.UNREACT, 2, THUMB, "bob"),
                change(Act.UNREACT, 2, HEART, "bob"),
            ]
        )
        edit = receipts[6].message
        one, two, reply = await folded(backend)
        expect((one.body, one.mentions, one.seq), ("eins", ("bob",), 1), "the text of the newest edit")
        expect(
            one.state,
            MessageState(
                Edit(edit.seq, edit.time_ms), (Reaction(HEART, 1, ("cat",)), Reaction(THUMB, 2, ("ann", "bob"))), 1
            ),
            "the state of the first message",
        )
        expect(two.state, MessageState(is_pinned=True), "the state of the second message")
        expect((reply.body, reply.of, reply.state), ("a reply", 1, None), "the reply")
        expect([message.state for message in await folded(backend, "b")], [None], "another room")
        raw = (await backend.read("a", after=0, limit=100)).messages
        expect(list(await folded(backend)), fold(raw), "what folding the log gives")
        await backend.append([change(Act.UNPIN, 2), change(Act.UNREACT, 1, HEART, "cat")])
        expect(await state_of(backend, 2), None, "the state of a message that is not pinned any more")
        check(not await backend.has_reaction("a", 1, HEART, "cat"), "a reaction that was taken back")
        check(await backend.has_reaction("a", 1, THUMB, "ann"), "a reaction")
        check(not await backend.has_reaction("a", 1, THUMB, "cat"), "somebody else's reaction")
        check(not await backend.has_reaction("none", 1, THUMB, "cat"), "a room never written to")


@case
async def an_entry_that_may_not_change_a_message_changes_nothing(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", "one"))
        await backend.append(
            [
                change(Act.EDIT, 1, "forged", "bob"),
                change(Act.REACT, 2, THUMB),  # of the edit
                change(Act.EDIT, 99, "nothing"),
                change(None, 99, "a reply to nothing"),
                change(Act.REACT, 7, THUMB),  # of itself
            ]
        )
        one, reply = await folded(backend)
        expect((one.body, one.state), ("one", None), "the message")
        expect((reply.seq, reply.of), (5, 99), "the reply to nothing")
        expect((await backend.read("a")).head.last, 6, "the end of the log")


@case
async def folded_pages_hold_messages_and_are_complete(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", *range(1, 6)))
        await backend.append([change(Act.REACT, 1, f":n{n}:") for n in range(MANY)])
        await backend.append(drafts_in("a", "last"))
        newest = await backend.read("a", limit=3, folded=True)
        expect(numbers_of(newest.messages), [4, 5, MANY + 6], "the newest messages")
        check(not newest.complete, "older messages follow")
        rest = await backend.read("a", before=4, limit=3, folded=True)
        expect((numbers_of(rest.messages), rest.complete), ([1, 2, 3], True), "the older messages")
        after = await backend.read("a", after=4, limit=1, folded=True)
        expect((numbers_of(after.messages), after.complete), ([5], False), "the next message")
        after = await backend.read("a", after=5, limit=1, folded=True)
        expect((numbers_of(after.messages), after.complete), ([MANY + 6], True), "the last message")
        expect(after.head.last, MANY + 6, "the end of the log")


@case
async def a_reaction_lists_some_names_and_counts_all(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", "one"))
        names = [f"n{n:03}" for n in range(MANY)]
        await backend.append([change(Act.REACT, 1, THUMB, name) for name in reversed(names)])
        expect(
            await state_of(backend, 1),
            MessageState(reactions=(Reaction(THUMB, MANY, tuple(names[:20])),)),
            "a reaction of many senders",
        )


@case
async def a_search_finds_the_newest_text(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", "an Apple", "a pear", "an apple too"))
        await backend.append(
            [change(Act.EDIT, 1, "a plum"), change(Act.EDIT, 2, "ÄPFEL"), change(Act.EDIT, 1, "a fig")]
        )

        async def found(text: str) -> list[int]:
            return numbers_of(await folded(backend, where=Filter(search=text)))

        expect(
            [await found(text) for text in ("apple", "fig", "plum", "pear", "äpfel")], [[3], [1], [], [], [2]], "hits"
        )
        raw = await backend.read("a", after=0, where=Filter(search="PL"))
        expect(numbers_of(raw.messages), [1, 3, 4], "hits in the log as it was written")
        page = await backend.read("a", limit=1, where=Filter(search="a"), folded=True)
        expect((numbers_of(page.messages), page.complete), ([3], False), "the newest hit")
        both = await folded(backend, where=Filter(search="fig", sender="ann"))
        expect([message.body for message in both], ["a fig"], "a search that is combined")


@case
async def what_refers_to_a_message_and_what_is_pinned_can_be_read(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", "one", "two"))
        await backend.append(
            [
                change(None, 1, "reply"),
                change(Act.PIN, 1),
                change(Act.PIN, 3),
                change(None, 2, "other"),
                change(Act.PIN, 2),
                change(Act.UNPIN, 2),
                change(None, 1, "again"),
            ]
        )
        expect(numbers_of(await folded(backend, where=Filter(of=1))), [3, 9], "the replies")
        page = await backend.read("a", limit=1, where=Filter(of=1), folded=True)
        expect((numbers_of(page.messages), page.complete), ([9], False), "the newest reply")
        raw = await backend.read("a", after=0, where=Filter(of=1))
        expect(numbers_of(raw.messages), [3, 4, 9], "all that refers to the message")
        expect(numbers_of(await folded(backend, where=Filter(pinned=True))), [1, 3], "what is pinned")


@case
async def a_redaction_removes_edits_and_state(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([Draft("a", "ann", "one", mentions=("bob",)), *drafts_in("a", "two")])
        await backend.append(
            [
                change(Act.EDIT, 1, "secret @cat", mentions=("cat",)),
                change(Act.REACT, 1, THUMB),
                change(Act.PIN, 1),
                change(None, 1, "reply"),
                change(Act.EDIT, 2, "stays"),
            ]
        )
        await backend.watch("a")
        tombstone = await backend.redact("a", 1)
        expect((tombstone.redacted, tombstone.body, tombstone.mentions), (True, "", ()), "the tombstone")
        seen: list[object] = []
        notifications = backend.notifications()
        while {MessageRedacted("a", 1), MessageRedacted("a", 3)} - set(seen):
            seen += await until(notifications, lambda item: isinstance(item, MessageRedacted))
        raw = (await backend.read("a", after=0)).messages
        left = [(message.body, message.redacted, message.mentions) for message in raw]
        expect(left[0], ("", True, ()), "the message in the log")
        expect(left[2], ("", True, ()), "its edit in the log")
        expect(left[6], ("stays", False, ()), "the edit of another message")
        await backend.append([change(Act.REACT, 1, HEART), change(Act.PIN, 1), change(None, 1, "late reply")])
        first = (await folded(backend))[0]
        expect((first.body, first.state), ("", MessageState(n_replies=2)), "what is left of the message")
        check(not await backend.has_reaction("a", 1, THUMB, "ann"), "its reactions are gone")
        expect(numbers_of(await folded(backend, where=Filter(pinned=True))), [], "what is pinned")
        expect(numbers_of(await folded(backend, where=Filter(search="secret"))), [], "a search for the removed text")


@case
async def a_redacted_edit_gives_way_to_the_text_before_it(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([Draft("a", "ann", "@bob", mentions=("bob",))])
        await backend.append(
            [
                change(Act.EDIT, 1, "@cat", mentions=("cat",)),
                change(Act.EDIT, 1, "not mine", "bob"),
                change(Act.EDIT, 1, "typo"),
                change(Act.EDIT, 1, "secret"),
            ]
        )
        for seq, wanted, mentioned in ((4, "secret", []), (5, "@cat", ["cat"]), (2, "@bob", ["bob"])):
            await backend.redact("a", seq)
            (message,) = await folded(backend)
            expect((message.body, list(message.mentions)), (wanted, mentioned), f"the text after edit {seq}")
            found = [name for name in ("bob", "cat") if await backend.read_mentions(name)]
            expect(found, mentioned, f"who is mentioned after edit {seq}")
        expect(message.state, None, "the state of a message without edits")
        expect(numbers_of(await folded(backend, where=Filter(search="secret"))), [], "a search for the removed text")
        await backend.redact("a", 1)
        await backend.append([change(Act.EDIT, 1, "late", mentions=("cat",))])
        await backend.redact("a", 6)
        (message,) = await folded(backend)
        expect((message.redacted, message.body), (True, ""), "a message that was redacted before its edit")
        expect(await backend.read_mentions("cat"), [], "what mentions cat")


@case
async def a_trim_drops_the_state_of_what_it_drops(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", "one", "two"))
        await backend.append([change(Act.EDIT, 1, "uno"), change(Act.EDIT, 2, "dos"), change(Act.REACT, 2, THUMB)])
        await backend.trim("a", keep=4)
        (two,) = await folded(backend)
        expect((two.seq, two.body), (2, "dos"), "a message at the edge")
        expect(two.state and two.state.reactions, (Reaction(THUMB, 1, ("ann",)),), "its reactions")
        check(not await backend.has_reaction("a", 1, THUMB, "ann"), "nothing is left of the first message")
        await backend.trim("a", keep=1)
        expect(await folded(backend), [], "a log whose only entry is a change")
        expect(numbers_of((await backend.read("a", after=0)).messages), [5], "the log")
        await backend.append([change(Act.REACT, 2, HEART), *drafts_in("a", "three")])
        expect(numbers_of(await folded(backend)), [7], "a change of a message that was dropped")


@case
async def the_bodies_of_edits_count_towards_the_size_of_a_page(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", *range(1, 41)))
        await backend.append([change(Act.EDIT, seq, "x" * 60_000) for seq in range(1, 41)])
        page = await backend.read("a", after=0, limit=40, folded=True)
        check(len(page.messages) < 20, "a page holds at most a megabyte of bodies")
        check(not page.complete, "more messages follow")
        expect([len(message.body) for message in page.messages], [60_000] * len(page.messages), "the bodies")
        newest = await backend.read("a", limit=40, folded=True)
        expect(newest.messages[-1].seq, 40, "the newest message")
        check(len(newest.messages) < 20 and not newest.complete, "the same for the newest page")


@case
async def relations_move_and_end_with_their_room(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*drafts_in("a", "one"), change(Act.EDIT, 1, "uno"), change(Act.REACT, 1, THUMB)])
        await backend.append([Draft("a", "ann", "@bob", mentions=("bob",)), change(Act.PIN, 1)])
        before = [(message.seq, message.body, message.state) for message in await folded(backend)]
        await backend.rename_room("a", "b")
        moved = await folded(backend, "b")
        expect(
            [(message.seq, message.body, message.state) for message in moved], before, "the messages at the new name"
        )
        expect([message.room for message in moved], ["b", "b"], "the room of the messages")
        expect([message.room for message in await backend.read_mentions("bob")], ["b"], "the mentions")
        await backend.append([*drafts_in("a", "new")])
        expect([message.state for message in await folded(backend)], [None], "the old name's first message")
        check(not await backend.has_reaction("a", 1, THUMB, "ann"), "the old name has no reaction")
        await backend.delete_room("b")
        await backend.append(drafts_in("b", "new"))
        expect([message.state for message in await folded(backend, "b")], [None], "a room that was deleted")
        check(not await backend.has_reaction("b", 1, THUMB, "ann"), "a room that was deleted has no reactions")
        expect(list(await backend.read_mentions("bob")), [], "a room that was deleted mentions nobody")


@case
async def loaded_messages_have_their_state(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*drafts_in("a", "one"), change(Act.EDIT, 1, "uno"), change(Act.REACT, 1, THUMB)])
        await backend.append([change(None, 1, "@bob", mentions=("bob",)), change(Act.PIN, 1), *drafts_in("a", "two")])
        await backend.append([change(Act.EDIT, 6, "gone")])
        await backend.redact("a", 6)
        log = (await backend.read("a", after=0)).messages
        shown = [(message.body, message.state) for message in await folded(backend)]
        await backend.delete_room("a")
        expect(await backend.load(log), len(log), "the number of loaded messages")
        loaded = (await backend.read("a", after=0)).messages
        parts = [(message.body, message.of, message.act, message.mentions, message.redacted) for message in loaded]
        wanted = [(message.body, message.of, message.act, message.mentions, message.redacted) for message in log]
        expect(parts, wanted, "the log")
        expect([(message.body, message.state) for message in await folded(backend)], shown, "the state")
        expect(numbers_of(await backend.read_mentions("bob")), [4], "the mentions")


@shared_case
async def a_change_by_one_process_shows_in_the_others(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.append(drafts_in("a", "one"))
        await two.append([change(Act.EDIT, 1, "uno"), change(Act.REACT, 1, THUMB, "bob")])
        await one.append([change(Act.REACT, 1, THUMB, "bob"), change(Act.REACT, 1, THUMB, "cat")])
        for backend in (one, two):
            (message,) = await folded(backend)
            expect(message.body, "uno", "the newest text")
            expect(message.state and message.state.reactions, (Reaction(THUMB, 2, ("bob", "cat")),), "the reactions")
