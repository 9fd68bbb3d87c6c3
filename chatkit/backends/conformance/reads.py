"""Conformance: pages, their bounds, and filters."""

# ruff: noqa: D103 - a case's name states the requirement

from collections.abc import Awaitable  # noqa: TC003  # a cheap import is no reason to hide it

from chatkit.backends.conformance.suite import Factory, case, check, drafts_in, expect, numbers_of
from chatkit.core.backend import Backend, Filter
from chatkit.core.message_state import Act
from chatkit.core.model import Draft
from chatkit.core.page_size import MAX_PAGE_BYTES, size_of


@case
async def an_unknown_room_is_empty_and_reading_does_not_create_it(factory: Factory) -> None:
    async with factory() as backend:
        page = await backend.read("ops")
        expect((page.head.first, page.head.last), (1, 0), "the head of a room never written to")
        check(page.head.epoch, "an empty room must have an epoch")
        expect((list(page.messages), page.complete), ([], True), "the page of a room never written to")
        await backend.watch("ops")
        expect(await backend.rooms(), [], "the rooms after reading and watching one")


@case
async def a_page_has_the_messages_asked_for(factory: Factory) -> None:
    asked: list[tuple[int | None, int | None, int, list[int], bool]] = [
        # after, before, limit -> numbers, complete
        (None, None, 3, [8, 9, 10], False),
        (None, None, 10, list(range(1, 11)), True),
        (None, None, 1, [10], False),
        (None, 4, 2, [2, 3], False),
        (None, 4, 3, [1, 2, 3], True),
        (None, 1, 5, [], True),
        (None, 99, 2, [9, 10], False),
        (0, None, 3, [1, 2, 3], False),
        (7, None, 3, [8, 9, 10], True),
        (10, None, 3, [], True),
        (99, None, 3, [], True),
        (2, 6, 2, [3, 4], False),
        (2, 6, 3, [3, 4, 5], True),
        (2, 3, 3, [], True),
        (6, 2, 3, [], True),
    ]
    async with factory() as backend:
        await backend.append([*drafts_in("a", *range(10)), *drafts_in("b", "elsewhere")])
        for after, before, limit, seqs, complete in asked:
            page = await backend.read("a", after=after, before=before, limit=limit)
            what = f"read(after={after}, before={before}, limit={limit})"
            expect((numbers_of(page.messages), page.complete), (seqs, complete), what)
            expect((page.head.first, page.head.last), (1, 10), "the head of a page")


@case
async def every_change_of_messages_replaces_the_change_mark(factory: Factory) -> None:
    async with factory() as backend:
        changes: tuple[Awaitable[object], ...] = (
            backend.append(drafts_in("a", *range(5))),
            backend.append([Draft("a", "ann", "other", of=2, act=Act.EDIT)]),
            backend.redact("a", 1),
            backend.trim("a", keep=3),
            backend.rename_room("a", "b"),
            backend.append(drafts_in("elsewhere", "x")),
            backend.delete_room("b"),
        )
        for number, change in enumerate(changes):
            before = backend.change_mark()
            await change
            check(before is None or backend.change_mark() != before, f"change {number} must replace the mark {before}")


@case
async def a_page_has_a_bounded_number_of_bytes(factory: Factory) -> None:
    async with factory() as backend:
        large = "x" * (MAX_PAGE_BYTES // 4)
        for n in range(3):
            await backend.append([Draft("a", "ann", f"{n}{large}"), *drafts_in("a", n), Draft("a", "ann", "", [large])])
        for where in (None, Filter(sender="ann"), Filter(since_ms=0)):
            seqs: list[int] = []
            while True:
                page = await backend.read("a", after=seqs[-1] if seqs else 0, limit=1_000, where=where)
                check(sum(map(size_of, page.messages)) <= MAX_PAGE_BYTES, "a page must have at most MAX_PAGE_BYTES")
                seqs += numbers_of(page.messages)
                if page.complete:
                    break
                check(page.messages, "an incomplete page must hold a message")
            expect(seqs, list(range(1, 10)), "all messages, read forward")
            seqs = []
            while not page.complete or not seqs:
                page = await backend.read("a", before=seqs[0] if seqs else None, limit=1_000, where=where)
                check(sum(map(size_of, page.messages)) <= MAX_PAGE_BYTES, "a page must have at most MAX_PAGE_BYTES")
                seqs = [*numbers_of(page.messages), *seqs]
            expect(seqs, list(range(1, 10)), "all messages, read backward")


@case
async def a_message_of_any_size_fits_a_page(factory: Factory) -> None:
    async with factory() as backend:
        huge = "x" * (MAX_PAGE_BYTES + 1)
        await backend.append([*drafts_in("a", 1), Draft("a", "ann", huge), *drafts_in("a", 3)])
        expect(
            numbers_of((await backend.read("a", after=1, limit=9)).messages),
            [2],
            "the page that begins with the large message",
        )
        page = await backend.read("a", before=3, limit=9)
        expect((numbers_of(page.messages), page.complete), ([2], False), "the page that ends with the large message")
        expect(
            numbers_of((await backend.read("a", after=0, limit=9)).messages), [1], "the page before the large message"
        )


@case
async def a_filter_chooses_messages(factory: Factory) -> None:
    bodies = [
        "Alpha",
        "beta",
        "ALPHABET",
        "GRÖSSE",
        "größe",
        "50% _off_",
        "nul\0Tail",
        "İstanbul",
        "straße",
        "50 percent off",
    ]
    searches = {
        "alpha": [1, 3],
        "LPHAB": [3],
        "größe": [4, 5],
        "GRÖSSE": [4, 5],
        "0% _O": [6],
        "%": [6],
        "_": [6],
        "tail": [7],
        "L\0t": [7],
        "STRASSE": [9],
        "": list(range(1, 11)),
        "nowhere": [],
        "x" * 60_000: [],
    }
    async with factory() as backend:
        await backend.append([Draft("a", "bob" if i % 2 else "ann", body) for i, body in enumerate(bodies)])
        for search, seqs in searches.items():
            page = await backend.read("a", where=Filter(search=search))
            expect((numbers_of(page.messages), page.complete), (seqs, True), f"the search for {search[:20]!r}")
        some = await backend.read("a", where=Filter(search="L"), limit=2)
        expect((numbers_of(some.messages), some.complete), ([7, 8], False), "the two newest matches")
        some = await backend.read("a", after=1, where=Filter(search="l"), limit=1)
        expect((numbers_of(some.messages), some.complete), ([3], False), "the next match")
        await _filter_by_sender_and_time(backend)
        await backend.redact("a", 1)
        expect(
            numbers_of((await backend.read("a", where=Filter(search="alpha"))).messages),
            [3],
            "a search after a redaction",
        )
        check(
            1 not in numbers_of((await backend.read("a", where=Filter(search=""))).messages),
            "a redacted message must not match a search",
        )


@case
async def rooms_are_listed_in_pages(factory: Factory) -> None:
    names = sorted(["a", "ab", "a-b", "a b", "b", "Z", "\u00e4", "\u4e2d", "\U0001f600", "b%", "b_", "b*"])
    async with factory() as backend:
        await backend.append([Draft(room, "ann", "x") for room in reversed(names)])
        await backend.trim("b", keep=0)
        await backend.delete_room("b%")
        names.remove("b%")
        expect([info.room for info in await backend.rooms()], names, "all rooms")
        expect([info.room for info in await backend.rooms(limit=3)], names[:3], "the first three rooms")
        for at, name in enumerate(names):
            page = [info.room for info in await backend.rooms(start=name, limit=2)]
            expect(page, names[at : at + 2], f"the rooms from {name!r} on")
            page = [info.room for info in await backend.rooms(start=f"{name}\x01", limit=100)]
            expect(page, names[at + 1 :], f"the rooms after {name!r}")
            page = [info.room for info in await backend.rooms(start=names[0], end=name, limit=2)]
            expect(page, names[:at][:2], f"the rooms before {name!r}")
            page = [info.room for info in await backend.rooms(start=name, end=f"{name}\x01")]
            expect(page, [name], f"the room {name!r}")
        infos = {info.room: info.head for info in await backend.rooms()}
        asked = [*names[::2], "none", "b%"]
        expect(await backend.heads(asked), {room: infos[room] for room in names[::2]}, "the heads of some rooms")
        expect(await backend.heads([]), {}, "the heads of no room")
        (info,) = await backend.rooms(start="b", limit=1)
        expect((info.head.first, info.head.last), (2, 1), "a room in a page")


@case
async def a_filter_excludes_the_messages_up_to_a_number(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([Draft("a", "ann", body) for body in ("one x", "two", "three x", "four x", "five x")])
        await backend.append([Draft("a", "ann", "six x", of=2, act=Act.EDIT)])
        asked: list[tuple[dict[str, int], list[int], bool]] = [
            ({}, [3, 4, 5], True),
            ({"limit": 2}, [4, 5], False),
            ({"before": 4}, [3], True),
            ({"after": 0, "limit": 1}, [3], False),
            ({"after": 3, "before": 5}, [4], True),
            ({"before": 2}, [], True),
        ]
        for where, seqs, complete in asked:
            page = await backend.read("a", **where, where=Filter(search="x", above=2), folded=True)
            expect((numbers_of(page.messages), page.complete), (seqs, complete), f"the hits above 2 with {where}")
        page = await backend.read("a", where=Filter(search="x", above=1), folded=True)
        expect(numbers_of(page.messages), [2, 3, 4, 5], "the hits above 1, in their current text")


async def _filter_by_sender_and_time(backend: Backend) -> None:
    both = await backend.read("a", where=Filter(sender="bob", search="e"))
    expect(numbers_of(both.messages), [2, 4, 10], "the matches of a sender and a text")
    expect(
        (await backend.read("a", where=Filter(sender="Ann"))).messages, [], "the matches of a sender in another case"
    )
    times = [message.time_ms for message in (await backend.read("a")).messages]
    since = await backend.read("a", where=Filter(since_ms=times[-1]))
    expect(len(since.messages), times.count(times[-1]), "the number of messages since the newest time (inclusive)")
    until = await backend.read("a", where=Filter(until_ms=times[0]))
    expect(list(until.messages), [], "the messages until the oldest time (exclusive)")
    whole = await backend.read("a", where=Filter(since_ms=times[0], until_ms=times[-1] + 1))
    expect(len(whole.messages), 10, "the number of messages in the whole time span")


@case
async def a_search_matches_composed_and_decomposed_letters(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(
            [Draft("a", "ann", body) for body in ("Zo\u00eb", "zoe\u0308", "Zoe", "\ud55c", "\u1112\u1161\u11ab")]
        )
        for search, seqs in {
            "ZO\u00cb": [1, 2],
            "zoe\u0308": [1, 2],
            "zoe": [3],
            "\ud55c": [4, 5],
            "\u1112\u1161\u11ab": [4, 5],
        }.items():
            page = await backend.read("a", where=Filter(search=search))
            expect(numbers_of(page.messages), seqs, f"the search for {search!a}")


@case
async def rooms_with_matches_are_found(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(
            [Draft(room, "ann", body) for room, body in (("a", "a NEEDLE"), ("b", "hay"), ("c", "hay"))]
        )
        (edit,) = await backend.append([Draft("c", "ann", "needle", of=1, act=Act.EDIT)])
        for where in (Filter(search="needle"), Filter(search="needle", until_ms=edit.message.time_ms + 1)):
            found = set(await backend.find_rooms(["a", "b", "c", "d"], where))
            expect({"a", "c"} - found, set(), "the rooms that are missing")
            expect(found - {"a", "b", "c", "d"}, set(), "other rooms")
