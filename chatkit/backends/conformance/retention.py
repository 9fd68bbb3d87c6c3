"""Conformance: trimming and redacting."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio

from chatkit.backends.conformance.suite import (
    Factory,
    case,
    drafts_in,
    expect,
    keyed_drafts,
    numbers_of,
    texts,
    until,
)
from chatkit.core.backend import MessageRedacted
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Message, Receipt
from chatkit.errors import NotFound


@case
async def trimming_keeps_the_numbers_of_the_rest(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*keyed_drafts("a", *range(10)), *keyed_drafts("b", 1, 2)])
        expect(await backend.trim(keep=3), 7, "how many were dropped")
        expect(await backend.trim(keep=3), 0, "how many more were dropped")
        page = await backend.read("a", after=0)
        expect((page.head.first, page.head.last, numbers_of(page.messages)), (8, 10, [8, 9, 10]), "the trimmed room")
        expect((await backend.read("b")).head.first, 1, "the short room's first number")
        again = await backend.append(keyed_drafts("a", 0, 9))
        expect(
            [(r.message.seq, r.repeat) for r in again],
            [(11, False), (10, True)],
            "the numbers and repeats of keys after trimming",
        )
        expect(await backend.trim(keep=0), 6, "how many were dropped of all rooms")
        page = await backend.read("a")
        expect(
            (page.head.first, page.head.last, list(page.messages)), (12, 11, []), "a room that was trimmed completely"
        )
        expect([info.room for info in await backend.rooms()], ["a", "b"], "the rooms after trimming everything")
        expect((await backend.append(drafts_in("a", "x")))[0].message.seq, 12, "the number after trimming everything")
        expect(await texts(backend, "a"), ["x"], "the room in the end")


@case
async def trimming_one_room_keeps_all_others(factory: Factory) -> None:
    async with factory() as backend:
        old = (await backend.append([*drafts_in("b", *range(5)), *keyed_drafts("a", *range(5))]))[-1].message
        expect(await backend.trim("a", keep=2), 3, "how many were dropped of one room")
        expect(await texts(backend, "a"), ["3", "4"], "the trimmed room")
        expect(await texts(backend, "b"), ["0", "1", "2", "3", "4"], "the other room")
        expect(await backend.trim("a", before_ms=old.time_ms + 1), 2, "how many old messages of one room were dropped")
        expect(await backend.trim("a", keep=0), 0, "how many more were dropped")
        expect(len(await texts(backend, "b")), 5, "the length of the other room")
        expect(await backend.trim("never written to", keep=0), 0, "how many were dropped of an unknown room")
        expect(await backend.trim("A", keep=0), 0, "how many were dropped of a room in another case")
        expect([info.room for info in await backend.rooms()], ["a", "b"], "the rooms")
        expect((await backend.append(drafts_in("a", "next")))[0].message.seq, 6, "the next number of the trimmed room")
        expect(await backend.trim(keep=1), 4, "how many were dropped of all rooms")


@case
async def a_long_trim_runs_in_steps_between_which_messages_are_appended(factory: Factory) -> None:
    async with factory() as backend:
        for _ in range(4):
            await backend.append(drafts_in("a", *range(200)))
            await backend.append(drafts_in("a", *["x" * 60_000] * 5))
        await backend.append([Draft("a", "bob", "y", of=seq, act=Act.REACT) for seq in range(1, 11)])
        await backend.append([Draft(f"room{n}", "ann", str(i)) for n in range(60) for i in range(7)])
        trimming = asyncio.ensure_future(backend.trim(keep=5))
        n_appended = 0
        while not trimming.done() and n_appended < 1_000:
            await backend.append(drafts_in("b", n_appended))
            n_appended += 1
            await asyncio.sleep(0)
        n_dropped = await trimming
        n_dropped_of_b = (await backend.read("b")).head.first - 1
        expect(n_dropped - n_dropped_of_b, 825 + 60 * 2, "how many were dropped")
        for room, first in (("a", 826), ("room0", 3), ("room59", 3)):
            expect((await backend.read(room)).head.first, first, f"the first number of {room!r}")
        expect(await backend.trim("a", before_ms=2**53), 5, "how many of the rest were older than a time in the future")


@case
async def trimming_by_age_drops_older_messages(factory: Factory) -> None:
    async with factory() as backend:
        (old,) = await backend.append(drafts_in("a", "old"))
        new = old
        while new.message.time_ms == old.message.time_ms:
            (new,) = await backend.append(drafts_in("a", "new"))
        expect(await backend.trim(before_ms=old.message.time_ms), 0, "how many are older than the oldest")
        expect(
            await backend.trim(before_ms=new.message.time_ms, keep=10_000), new.message.seq - 1, "how many are older"
        )
        expect((await backend.read("a")).head.first, new.message.seq, "the first number left")
        expect(await backend.trim(before_ms=new.message.time_ms + 1), 1, "how many of the rest were dropped")
        (later,) = await backend.append(drafts_in("a", "later"))
        expect(later.message.seq, new.message.seq + 1, "the number after trimming everything")


@case
async def redacting_removes_the_body_and_keeps_the_number(factory: Factory) -> None:
    async with factory() as backend:
        await backend.watch("a")
        before = (await backend.append([Draft("a", "ann", "secret", {"n": 1}, "k"), *drafts_in("a", "open")]))[
            0
        ].message
        after = await backend.redact("a", 1)
        wanted = Message("a", before.epoch, 1, before.time_ms, "ann", "", None, "k", redacted=True)
        expect(after, wanted, "the tombstone")
        await until(backend.notifications(), lambda item: item == MessageRedacted("a", 1))
        expect(await backend.redact("a", 1), wanted, "the tombstone after redacting again")
        expect((await backend.read("a")).messages[0], wanted, "the tombstone as read")
        expect(await backend.append(keyed_drafts("a", "k")), [Receipt(wanted, repeat=True)], "the receipt of its key")
        for room, seq in [("a", 0), ("a", 3), ("b", 1)]:
            try:
                await backend.redact(room, seq)
            except NotFound:
                continue
            raise AssertionError(f"redact({room!r}, {seq}) found something")
