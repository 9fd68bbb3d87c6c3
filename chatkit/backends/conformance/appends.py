"""Conformance: what `append` stores, in which order, and what a cancelled call leaves."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio
from collections.abc import Awaitable
from typing import Any

from chatkit.backends.conformance.suite import (
    Factory,
    append_together,
    case,
    check,
    drafts_in,
    expect,
    keyed_drafts,
    texts,
)
from chatkit.core.backend import Filter
from chatkit.core.model import Draft, Head, Message


@case
async def messages_are_numbered_in_order_without_holes(factory: Factory) -> None:
    async with factory() as backend:
        first = await backend.append([*drafts_in("a", 1, 2), *drafts_in("b", 1), *drafts_in("a", 3)])
        expect(
            [(r.message.room, r.message.seq) for r in first], [("a", 1), ("a", 2), ("b", 1), ("a", 3)], "the receipts"
        )
        second = await backend.append(drafts_in("a", 4))
        expect(second[0].message.seq, 4, "the next batch's number")
        page = await backend.read("a")
        expect(
            list(page.messages), [r.message for r in [*first, *second] if r.message.room == "a"], "the messages read"
        )
        expect(page.head, Head(first[0].message.epoch, 1, 4), "the head")
        check(page.messages[0].time_ms > 10**12, "time is Unix time in milliseconds")
        expect(await backend.append([]), [], "the receipts of an empty batch")


@case
async def bodies_and_data_are_read_as_they_were_appended(factory: Factory) -> None:
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
        expect(list(page.messages), [receipt.message for receipt in receipts], "the messages read")
        for draft, message in zip(drafts, page.messages, strict=True):
            wanted = (draft.room, draft.sender, draft.body, draft.data, draft.key, False)
            found = (message.room, message.sender, message.body, message.data, message.key, message.redacted)
            expect(found, wanted, "a message")


@case
async def room_names_of_any_script_and_case_are_distinct(factory: Factory) -> None:
    names = ["ops", "Ops", "OPS", "ß", "ss", "größe", "カフェ", "кофе", "हिन्दी", "٣", "a.b", "a_b", "a-b", "x" * 64]
    async with factory() as backend:
        await backend.append([draft for name in names for draft in drafts_in(name, name)])
        for name in names:
            expect(await texts(backend, name), [name], f"the room {name}")
        expect([info.room for info in await backend.rooms()], sorted(names), "the rooms, ordered by name")


@case
async def concurrent_appends_keep_their_batches_contiguous(factory: Factory) -> None:
    async with factory() as backend:
        await append_together([backend])


@case
async def a_cancelled_append_is_stored_completely_or_not_at_all(factory: Factory) -> None:
    async with factory() as backend:
        for turns in range(12):
            room, drafts = f"room{turns}", keyed_drafts(f"room{turns}", "a", "b", "c")
            await cancel_after(turns, backend.append(drafts))
            check(len(await texts(backend, room)) in {0, 3}, f"all or none are stored after {turns} turns of the loop")
            await backend.append(drafts)
            expect(await texts(backend, room), ["a", "b", "c"], "the room after a retry")


@case
async def every_call_can_be_cancelled(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", 1, 2, 3))
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
            await cancel_after(turns, backend.put_record("token", f"k{turns}", b"1", expected_version=0))
            await cancel_after(turns, backend.get_record("token", "k0"))
            await cancel_after(turns, backend.scan_records("token"))
            await cancel_after(turns, backend.record_changes(None))
            await cancel_after(turns, backend.load([Message("c", "", turns + 1, 10**12, "ann", "loaded")]))
            await cancel_after(turns, backend.delete_room("c"))
            await cancel_after(turns, anext(backend.notifications()))
        expect((await texts(backend, "a"))[1:], ["2", "3"], "the room")
        await backend.append(drafts_in("a", 4))
        records = (await backend.record_changes(None)).records
        expect(list(records), list(await backend.scan_records("token")), "the records")
        await texts(backend, "c")


async def cancel_after(turns: int, call: Awaitable[object]) -> None:
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
