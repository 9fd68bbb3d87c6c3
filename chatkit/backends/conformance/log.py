"""Conformance: what is appended, read, trimmed and redacted, by one backend alone."""

# ruff: noqa: D103 - a case's name says what must hold

import asyncio
from collections.abc import Awaitable
from typing import Any

from chatkit.backends.conformance.case import (
    Factory,
    append_together,
    case,
    holds,
    keyed,
    numbers_of,
    said,
    same,
    texts,
    until,
)
from chatkit.core.backend import Backend, Filter, MessageRedacted
from chatkit.core.model import Draft, Head, Message, Receipt
from chatkit.core.page_size import MAX_PAGE_BYTES, size_of
from chatkit.errors import NotFound


@case
async def an_unknown_room_is_empty_and_asking_does_not_make_it(factory: Factory) -> None:
    async with factory() as backend:
        page = await backend.read("ops")
        same((page.head.first, page.head.last), (1, 0), "the head of a room never written to")
        holds(page.head.epoch, "an empty room has an epoch")
        same((list(page.messages), page.complete), ([], True), "the page of a room never written to")
        await backend.watch("ops")
        same(await backend.rooms(), [], "the rooms, when one was only asked for")


@case
async def a_page_has_a_bounded_number_of_bytes(factory: Factory) -> None:
    async with factory() as backend:
        large = "x" * (MAX_PAGE_BYTES // 4)
        for n in range(3):
            await backend.append([Draft("a", "ann", f"{n}{large}"), *said("a", n), Draft("a", "ann", "", [large])])
        for where in (None, Filter(sender="ann"), Filter(since_ms=0)):
            seqs: list[int] = []
            while True:
                page = await backend.read("a", after=seqs[-1] if seqs else 0, limit=1_000, where=where)
                holds(sum(map(size_of, page.messages)) <= MAX_PAGE_BYTES, "a page is bounded")
                seqs += numbers_of(page.messages)
                if page.complete:
                    break
                holds(page.messages, "a page that is not complete holds a message")
            same(seqs, list(range(1, 10)), "all messages, read forward")
            seqs = []
            while not page.complete or not seqs:
                page = await backend.read("a", before=seqs[0] if seqs else None, limit=1_000, where=where)
                holds(sum(map(size_of, page.messages)) <= MAX_PAGE_BYTES, "a page is bounded")
                seqs = [*numbers_of(page.messages), *seqs]
            same(seqs, list(range(1, 10)), "all messages, read backward")


@case
async def one_message_is_a_page_however_large_it_is(factory: Factory) -> None:
    async with factory() as backend:
        huge = "x" * (MAX_PAGE_BYTES + 1)
        await backend.append([*said("a", 1), Draft("a", "ann", huge), *said("a", 3)])
        same(numbers_of((await backend.read("a", after=1, limit=9)).messages), [2], "the page that begins with it")
        page = await backend.read("a", before=3, limit=9)
        same((numbers_of(page.messages), page.complete), ([2], False), "the page that ends with it")
        same(numbers_of((await backend.read("a", after=0, limit=9)).messages), [1], "the page before it")


@case
async def composed_and_decomposed_letters_match(factory: Factory) -> None:
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
            same(numbers_of(page.messages), seqs, f"the search for {search!a}")


@case
async def messages_are_numbered_in_order_without_holes(factory: Factory) -> None:
    async with factory() as backend:
        first = await backend.append([*said("a", 1, 2), *said("b", 1), *said("a", 3)])
        same([(r.message.room, r.message.seq) for r in first], [("a", 1), ("a", 2), ("b", 1), ("a", 3)], "receipts")
        second = await backend.append(said("a", 4))
        same(second[0].message.seq, 4, "the next batch's number")
        page = await backend.read("a")
        same(list(page.messages), [r.message for r in [*first, *second] if r.message.room == "a"], "what is read")
        same(page.head, Head(first[0].message.epoch, 1, 4), "the head")
        holds(page.messages[0].time_ms > 10**12, "time is Unix time in milliseconds")
        same(await backend.append([]), [], "the receipts of nothing")


@case
async def what_is_given_is_what_is_read(factory: Factory) -> None:
    bodies = [
        "",
        "two\nlines\r\n",
        "nul \0 inside",
        "\0",
        "😀 👩‍👩‍👧",
        "'; DROP TABLE message; --",
        '"\\',
        "x" * 65_536,
        "ä" * 32_768,
    ]
    data: list[Any] = [None, 0, False, "", [], {}, 1.5, -(2**53), "nul \0", {"n": [1, {"ü": None}]}, [[[[]]]]]
    drafts = [Draft("a", "Ünï '\"", body, key=f"~ {i}'\"") for i, body in enumerate(bodies)]
    drafts += [Draft("a", "ann", "with data", value) for value in data]
    async with factory() as backend:
        receipts = await backend.append(drafts)
        page = await backend.read("a")
        same(list(page.messages), [receipt.message for receipt in receipts], "what is read")
        for draft, message in zip(drafts, page.messages, strict=True):
            wanted = (draft.room, draft.sender, draft.body, draft.data, draft.key, False)
            found = (message.room, message.sender, message.body, message.data, message.key, message.redacted)
            same(found, wanted, "a message")


@case
async def rooms_of_any_script_and_case_are_their_own(factory: Factory) -> None:
    names = ["ops", "Ops", "OPS", "ß", "ss", "größe", "カフェ", "кофе", "हिन्दी", "٣", "a.b", "a_b", "a-b", "x" * 64]
    async with factory() as backend:
        await backend.append([draft for name in names for draft in said(name, name)])
        for name in names:
            same(await texts(backend, name), [name], f"the room {name}")
        same([info.room for info in await backend.rooms()], sorted(names), "the rooms, by name")


@case
async def a_repeated_key_is_stored_once(factory: Factory) -> None:
    async with factory() as backend:
        first = await backend.append(keyed("a", "k", "l", "k"))
        same([receipt.repeat for receipt in first], [False, False, True], "repeats in one batch")
        same(first[2].message, first[0].message, "the repeat's message")
        again = await backend.append([*said("a", "new"), *keyed("a", "l"), *keyed("b", "l")])
        same(again[1], Receipt(first[1].message, repeat=True), "a repeat in a later batch")
        holds(not again[2].repeat, "a key of another room")
        same(await texts(backend, "a"), ["k", "l", "new"], "the room")
        only = await backend.append(keyed("a", "k", "l"))
        same([receipt.repeat for receipt in only], [True, True], "a batch of repeats")
        same((await backend.read("a")).head.last, 3, "the last number")


@case
async def a_key_belongs_to_its_sender(factory: Factory) -> None:
    async with factory() as backend:
        anns, bobs = Draft("a", "ann", "ann's", key="k"), Draft("a", "bob", "bob's", key="k")
        first = await backend.append([anns, bobs])
        same([receipt.repeat for receipt in first], [False, False], "one key of two senders in one batch")
        same(await backend.append([anns]), [Receipt(first[0].message, repeat=True)], "the first sender's repeat")
        same(await backend.append([bobs]), [Receipt(first[1].message, repeat=True)], "the second sender's repeat")
        (cats,) = await backend.append([Draft("a", "cat", "cat's", key="k")])
        holds(not cats.repeat, "the key of a third sender in a later batch")
        same(await texts(backend, "a"), ["ann's", "bob's", "cat's"], "the room")


@case
async def a_key_with_another_body_or_other_data_is_a_conflict(factory: Factory) -> None:
    async with factory() as backend:
        draft = Draft("a", "ann", "one", {"n": 1, "m": [1.5, None]}, "k")
        (stored,) = await backend.append([draft])
        conflict, repeat = Receipt(stored.message, repeat=True, conflict=True), Receipt(stored.message, repeat=True)
        others: list[tuple[str, Any]] = [
            ("two", draft.data),
            ("", draft.data),
            ("one ", draft.data),
            ("one", None),
            ("one", {"n": 2, "m": [1.5, None]}),
            ("one", {"n": True, "m": [1.5, None]}),
            ("one", {"n": 1.0, "m": [1.5, None]}),
        ]
        for body, data in others:
            found = await backend.append([*said("b", "beside"), Draft("a", "ann", body, data, "k")])
            same(found[1], conflict, f"the body {body!r} and the data {data!r} under a known key")
        same(await backend.append([draft]), [repeat], "the same content again")
        turned = Draft("a", "ann", "one", {"m": [1.5, None], "n": 1}, "k")
        same(await backend.append([turned]), [repeat], "the same data in another order")
        same(await texts(backend, "a"), ["one"], "the room")
        same(len(await texts(backend, "b")), len(others), "what came in the same batches")


@case
async def a_key_may_conflict_within_one_batch(factory: Factory) -> None:
    async with factory() as backend:
        found = await backend.append(
            [
                Draft("a", "ann", "one", key="k"),
                Draft("a", "bob", "one", key="k"),
                Draft("a", "ann", "two", key="k"),
                Draft("a", "ann", "one", {"n": 1}, "k"),
                Draft("a", "ann", "one", key="k"),
                Draft("a", "ann", "last"),
            ]
        )
        same([receipt.repeat for receipt in found], [False, False, True, True, True, False], "what was known")
        same([receipt.conflict for receipt in found], [False, False, True, True, False, False], "conflicts")
        same([receipt.message.seq for receipt in found], [1, 2, 1, 1, 1, 3], "numbers")
        same(await texts(backend, "a"), ["one", "one", "last"], "the room")


@case
async def a_key_is_known_after_a_redaction(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([Draft("a", "ann", "secret", {"n": 1}, "k"), Draft("a", "bob", "open", key="k")])
        left = Receipt(await backend.redact("a", 1), repeat=True)
        same(await backend.append([Draft("a", "ann", "secret", {"n": 1}, "k")]), [left], "the same content")
        same(await backend.append([Draft("a", "ann", "other", key="k")]), [left], "content that cannot be compared")
        (bobs,) = await backend.append([Draft("a", "bob", "other", key="k")])
        holds(bobs.conflict, "the key of a sender whose message was not redacted")
        (cats,) = await backend.append([Draft("a", "cat", "cat's", key="k")])
        same((cats.repeat, cats.message.seq), (False, 3), "the key of another sender")


@case
async def appends_at_the_same_time_keep_their_batches_whole(factory: Factory) -> None:
    async with factory() as backend:
        await append_together([backend])


@case
async def an_append_that_is_cancelled_is_stored_wholly_or_not_at_all(factory: Factory) -> None:
    async with factory() as backend:
        for turns in range(12):
            room, drafts = f"room{turns}", keyed(f"room{turns}", "a", "b", "c")
            await cancel_after(turns, backend.append(drafts))
            holds(len(await texts(backend, room)) in {0, 3}, f"all or none after {turns} turns of the loop")
            await backend.append(drafts)
            same(await texts(backend, room), ["a", "b", "c"], "the room when it was tried again")


@case
async def other_calls_can_be_cancelled_too(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(said("a", 1, 2, 3))
        for turns in range(6):
            await cancel_after(turns, backend.read("a"))
            await cancel_after(turns, backend.read("a", where=Filter(search="1")))
            await cancel_after(turns, backend.rooms())
            await cancel_after(turns, backend.watch("a"))
            await cancel_after(turns, backend.unwatch("a"))
            await cancel_after(turns, backend.trim(keep=3))
            await cancel_after(turns, backend.trim("a", keep=3))
            await cancel_after(turns, backend.redact("a", 1))
            await cancel_after(turns, backend.poll_presence("me"))
            await cancel_after(turns, anext(backend.notifications()))
        same((await texts(backend, "a"))[1:], ["2", "3"], "the room")
        await backend.append(said("a", 4))


async def cancel_after(turns: int, call: Awaitable[object]) -> None:
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# Reading


@case
async def a_page_is_what_was_asked_for(factory: Factory) -> None:
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
        await backend.append([*said("a", *range(10)), *said("b", "elsewhere")])
        for after, before, limit, seqs, complete in asked:
            page = await backend.read("a", after=after, before=before, limit=limit)
            what = f"read(after={after}, before={before}, limit={limit})"
            same((numbers_of(page.messages), page.complete), (seqs, complete), what)
            same((page.head.first, page.head.last), (1, 10), "the head of a page")


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
            same((numbers_of(page.messages), page.complete), (seqs, True), f"the search for {search[:20]!r}")
        some = await backend.read("a", where=Filter(search="L"), limit=2)
        same((numbers_of(some.messages), some.complete), ([7, 8], False), "the newest two that match")
        some = await backend.read("a", after=1, where=Filter(search="l"), limit=1)
        same((numbers_of(some.messages), some.complete), ([3], False), "the next that matches")
        await _filter_by_sender_and_time(backend)
        await backend.redact("a", 1)
        same(
            numbers_of((await backend.read("a", where=Filter(search="alpha"))).messages),
            [3],
            "a search after a redaction",
        )
        holds(
            1 not in numbers_of((await backend.read("a", where=Filter(search=""))).messages),
            "redacted matches no search",
        )


async def _filter_by_sender_and_time(backend: Backend) -> None:
    both = await backend.read("a", where=Filter(sender="bob", search="e"))
    same(numbers_of(both.messages), [2, 4, 10], "what holds a sender and a text")
    same((await backend.read("a", where=Filter(sender="Ann"))).messages, [], "a sender of another case")
    times = [message.time_ms for message in (await backend.read("a")).messages]
    since = await backend.read("a", where=Filter(since_ms=times[-1]))
    same(len(since.messages), times.count(times[-1]), "since is inclusive")
    until = await backend.read("a", where=Filter(until_ms=times[0]))
    same(list(until.messages), [], "until is exclusive")
    whole = await backend.read("a", where=Filter(since_ms=times[0], until_ms=times[-1] + 1))
    same(len(whole.messages), 10, "the whole time")


# Trimming and redacting


@case
async def trimming_changes_no_number(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*keyed("a", *range(10)), *keyed("b", 1, 2)])
        same(await backend.trim(keep=3), 7, "how many were dropped")
        same(await backend.trim(keep=3), 0, "how many more")
        page = await backend.read("a", after=0)
        same((page.head.first, page.head.last, numbers_of(page.messages)), (8, 10, [8, 9, 10]), "the trimmed room")
        same((await backend.read("b")).head.first, 1, "the short room's first")
        again = await backend.append(keyed("a", 0, 9))
        same([(r.message.seq, r.repeat) for r in again], [(11, False), (10, True)], "keys after trimming")
        same(await backend.trim(keep=0), 6, "how many are dropped of all")
        page = await backend.read("a")
        same((page.head.first, page.head.last, list(page.messages)), (12, 11, []), "a room that was trimmed wholly")
        same([info.room for info in await backend.rooms()], ["a", "b"], "rooms that held a message")
        same((await backend.append(said("a", "x")))[0].message.seq, 12, "the number after trimming all")
        same(await texts(backend, "a"), ["x"], "the room at last")


@case
async def trimming_one_room_leaves_all_others(factory: Factory) -> None:
    async with factory() as backend:
        old = (await backend.append([*said("b", *range(5)), *keyed("a", *range(5))]))[-1].message
        same(await backend.trim("a", keep=2), 3, "how many were dropped of one room")
        same(await texts(backend, "a"), ["3", "4"], "the trimmed room")
        same(await texts(backend, "b"), ["0", "1", "2", "3", "4"], "the other room")
        same(await backend.trim("a", before_ms=old.time_ms + 1), 2, "how many of one room were old")
        same(await backend.trim("a", keep=0), 0, "how many more")
        same(len(await texts(backend, "b")), 5, "the length of the other room")
        same(await backend.trim("never written to", keep=0), 0, "how many were dropped of no room")
        same(await backend.trim("A", keep=0), 0, "how many were dropped of a room of another case")
        same([info.room for info in await backend.rooms()], ["a", "b"], "the rooms")
        same((await backend.append(said("a", "next")))[0].message.seq, 6, "the next number of the trimmed room")
        same(await backend.trim(keep=1), 4, "how many were dropped of all rooms")


@case
async def trimming_by_age_drops_what_is_older(factory: Factory) -> None:
    async with factory() as backend:
        (old,) = await backend.append(said("a", "old"))
        new = old
        while new.message.time_ms == old.message.time_ms:
            (new,) = await backend.append(said("a", "new"))
        same(await backend.trim(before_ms=old.message.time_ms), 0, "what is older than the oldest")
        same(await backend.trim(before_ms=new.message.time_ms, keep=10_000), new.message.seq - 1, "what is older")
        same((await backend.read("a")).head.first, new.message.seq, "the first that is left")
        same(await backend.trim(before_ms=new.message.time_ms + 1), 1, "the rest")
        (later,) = await backend.append(said("a", "later"))
        same(later.message.seq, new.message.seq + 1, "the number after trimming all")


@case
async def redacting_takes_the_body_away_and_keeps_the_number(factory: Factory) -> None:
    async with factory() as backend:
        await backend.watch("a")
        before = (await backend.append([Draft("a", "ann", "secret", {"n": 1}, "k"), *said("a", "open")]))[0].message
        after = await backend.redact("a", 1)
        wanted = Message("a", before.epoch, 1, before.time_ms, "ann", "", None, "k", redacted=True)
        same(after, wanted, "what is left")
        await until(backend.notifications(), lambda item: item == MessageRedacted("a", 1))
        same(await backend.redact("a", 1), wanted, "redacting again")
        same((await backend.read("a")).messages[0], wanted, "what is read")
        same(await backend.append(keyed("a", "k")), [Receipt(wanted, repeat=True)], "its key")
        for room, seq in [("a", 0), ("a", 3), ("b", 1)]:
            try:
                await backend.redact(room, seq)
            except NotFound:
                continue
            raise AssertionError(f"redact({room!r}, {seq}) found something")
