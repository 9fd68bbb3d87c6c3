"""Conformance: a store that is opened again, or by several backends at the same time."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio

from chatkit.backends.conformance.suite import (
    Factory,
    append_together,
    drafts_in,
    expect,
    keyed_drafts,
    shared_case,
    texts,
)


@shared_case
async def reopening_keeps_everything(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*keyed_drafts("a", *range(5)), *drafts_in("b", 1)])
        await backend.redact("a", 4)
        await backend.trim(keep=3)
        pages, rooms = [await backend.read("a"), await backend.read("b")], await backend.rooms()
    async with factory() as backend:
        expect([await backend.read("a"), await backend.read("b")], pages, "the pages, including the epoch")
        expect(await backend.rooms(), rooms, "the rooms")
        again = await backend.append(keyed_drafts("a", 4, 5))
        expect([(r.message.seq, r.repeat) for r in again], [(5, True), (6, False)], "numbers and repeats")


@shared_case
async def an_emptied_room_keeps_its_numbers_after_reopening(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", 1, 2))
        await backend.trim(keep=0)
    async with factory() as backend:
        page = await backend.read("a")
        expect((page.head.first, page.head.last), (3, 2), "the head")
        expect((await backend.append(drafts_in("a", 3)))[0].message.seq, 3, "the next number")


@shared_case
async def two_backends_append_to_one_room_without_holes(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await append_together([one, two])
        results = await asyncio.gather(*(backend.append(keyed_drafts("k", "same")) for backend in [one, two] * 5))
        expect(
            sum(not receipts[0].repeat for receipts in results), 1, "how many of ten concurrent appends stored the key"
        )


@shared_case
async def an_append_notices_a_trim_by_another_backend(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.append(drafts_in("a", 1))
        await two.append(drafts_in("a", 2, 3))
        await two.trim(keep=0)
        expect((await one.append(drafts_in("a", 4)))[0].message.seq, 4, "the number after a trim by another backend")
        await two.trim(keep=0)
        await two.append(drafts_in("b", 1))
        expect((await one.append(drafts_in("a", 5)))[0].message.seq, 5, "the number after the second trim")
        expect(await texts(two, "a"), ["5"], "the room")
