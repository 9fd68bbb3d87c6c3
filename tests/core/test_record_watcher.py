"""The watcher of records: many changes are passed on in parts, so that none of them stops the event loop for long."""

import asyncio

import pytest

from chatkit.backends.memory import MemoryBackend
from chatkit.core.record_watcher import SLICE_RECORDS, RecordWatcher
from chatkit.core.records import RecordChanges

N_RECORDS = 3 * SLICE_RECORDS + 1


async def filled(n_records: int) -> MemoryBackend:
    backend = MemoryBackend()
    for number in range(n_records):
        await backend.put_record("ban", str(number), b"x", expected_version=0)
    return backend


def test_many_changes_are_passed_on_in_parts_and_the_first_part_says_that_they_are_all() -> None:
    async def test() -> None:
        parts: list[RecordChanges] = []
        await RecordWatcher(await filled(N_RECORDS), parts.append).refresh()
        assert [len(part.records) for part in parts] == [SLICE_RECORDS] * 3 + [1]
        assert [part.whole for part in parts] == [True, False, False, False]
        assert [record.key for part in parts for record in part.records] == [str(n) for n in range(N_RECORDS)]

    asyncio.run(test())


def test_an_empty_store_is_passed_on_once() -> None:
    async def test() -> None:
        parts: list[RecordChanges] = []
        watcher = RecordWatcher(MemoryBackend(), parts.append)
        await watcher.refresh()
        await watcher.refresh()
        assert [(part.whole, len(part.records)) for part in parts] == [(True, 0)]

    asyncio.run(test())


def test_after_a_cancelled_call_the_next_one_continues_where_it_stopped() -> None:
    async def test() -> None:
        parts: list[RecordChanges] = []

        def stop(part: RecordChanges) -> None:
            parts.append(part)
            if len(parts) == 2:
                refreshing.cancel()

        watcher = RecordWatcher(await filled(N_RECORDS), stop)
        refreshing = asyncio.create_task(watcher.refresh())
        with pytest.raises(asyncio.CancelledError):
            await refreshing
        assert len(parts) == 2
        await watcher.refresh()
        assert [record.key for part in parts for record in part.records] == [str(n) for n in range(N_RECORDS)]

    asyncio.run(test())


def test_a_store_that_was_wiped_under_its_readers_is_passed_on_at_once() -> None:
    async def test() -> None:
        parts: list[RecordChanges] = []
        watcher = RecordWatcher(await filled(1), parts.append)
        await watcher.refresh()
        watcher._backend = await filled(N_RECORDS)  # another epoch, as after a wipe
        await watcher.refresh()
        assert [(part.whole, len(part.records)) for part in parts] == [(True, 1), (True, N_RECORDS)]

    asyncio.run(test())
