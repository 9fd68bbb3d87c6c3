"""Typing to an SQLite store: batches, locks, the write-ahead log, redaction, trims, and killed processes."""

import asyncio
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlite_stores import fill_room, open_store, opening_error, read_all, start_appender

from chatkit.backends.sqlite import errors as sqlite_errors
from chatkit.backends.sqlite.checkpoint import MAX_WAL_BYTES
from chatkit.backends.sqlite.trimming import MESSAGE_BYTES, STEP_BYTES
from chatkit.core.model import Draft
from chatkit.errors import Unavailable


def test_a_batch_may_be_larger_than_a_statement(tmp_path: Path) -> None:
    async def main() -> None:
        batch = [
            Draft("a" if n % 3 else "b", "ann", str(n), n if n % 5 else None, f"k{n % 2_500}") for n in range(3_000)
        ]
        async with open_store(tmp_path / "x.db") as backend:
            receipts = await backend.append(batch)
            assert sum(receipt.repeat for receipt in receipts) == 3_000 - len({(d.room, d.key) for d in batch})
            assert (await read_all(backend, "a")) == [
                r.message for r in receipts if r.message.room == "a" and not r.repeat
            ]
            in_b = await read_all(backend, "b")
            assert [m.seq for m in in_b] == list(range(1, len(in_b) + 1))

    asyncio.run(main())


@pytest.mark.parametrize("size", [1, 2, 5, 7, 31, 200, 1_023, 1_024, 1_025])
def test_batches_of_many_sizes_are_stored_in_order(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            for _ in range(3):
                await backend.append([Draft("a", "ann", str(n)) for n in range(size)])
            assert [m.body for m in await read_all(backend, "a")] == [str(n) for n in range(size)] * 3

    asyncio.run(main())


def test_a_batch_that_cannot_be_encoded_stores_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            await backend.append([Draft("a", "ann", "1")])
            for room in ("a", "new"):
                with pytest.raises(UnicodeEncodeError):
                    await backend.append([Draft(room, "ann", "fine"), Draft(room, "ann", "\ud800")])
            await backend.append([Draft("a", "ann", "2")])
            assert [(m.seq, m.body) for m in await read_all(backend, "a")] == [(1, "1"), (2, "2")]
            assert [info.room for info in await backend.rooms()] == ["a"]

    asyncio.run(main())


def test_a_lock_held_for_too_long_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_errors, "BUSY_TIMEOUT_S", 0.05)

    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            await backend.append([Draft("a", "ann", "1")])
            other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="has held the lock"):
                await backend.append([Draft("a", "ann", "2")])
            assert len(await read_all(backend, "a")) == 1
            other.execute("ROLLBACK")
            other.close()
            await backend.append([Draft("a", "ann", "2")])

    asyncio.run(main())


def test_an_append_after_closing_reports_that_the_backend_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        backend = open_store(tmp_path / "x.db")
        async with backend:
            pass
        with pytest.raises(Unavailable, match="has been closed"):
            await backend.append([Draft("a", "ann", "1")])

    asyncio.run(main())


def test_no_thread_remains_after_closing_a_backend(tmp_path: Path) -> None:
    before = threading.active_count()
    opening_error(tmp_path)

    async def main() -> None:
        async with open_store(tmp_path / "x.db"):
            assert threading.active_count() > before

    asyncio.run(main())
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_write_ahead_log_does_not_grow_without_bound(tmp_path: Path) -> None:
    async def main() -> None:
        batch = [Draft("a", "ann", "x" * 65_536)] * 16
        async with open_store(tmp_path / "x.db") as backend:
            for _ in range(3 * MAX_WAL_BYTES // 2**20 // 2):
                await backend.append(batch)
            wal = tmp_path / "x.db-wal"
            deadline = time.monotonic() + 30
            while wal.stat().st_size > MAX_WAL_BYTES:
                assert time.monotonic() < deadline
                await backend.append(batch)

    asyncio.run(main())


def test_a_redacted_body_is_erased_from_the_files(tmp_path: Path) -> None:
    def is_there() -> bool:
        return any(b"the-secret" in path.read_bytes() for path in tmp_path.iterdir())

    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            await backend.append(
                [Draft("a", "ann", "the-secret" + "x" * 9_000, {"n": "the-secret"}), Draft("a", "ann", "")]
            )
            assert is_there()
            await backend.redact("a", 1)
            deadline = time.monotonic() + 10
            while is_there():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_appends_run_between_the_steps_of_a_trim(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill_room(path, 20 * STEP_BYTES // MESSAGE_BYTES)

    async def main() -> None:
        async with open_store(path) as backend:
            await backend.append([Draft(f"room{n}", "ann", str(i)) for n in range(30) for i in range(40)])
            trimming = asyncio.ensure_future(backend.trim(keep=10))
            in_between = 0
            while not trimming.done():
                await backend.append([Draft("big", "ann", "in between")])
                in_between += not trimming.done()
            assert in_between
            head = (await backend.read("big", limit=1)).head
            assert await trimming == head.first - 1 + 30 * 30
            assert [m.seq for m in await read_all(backend, "big")] == list(range(head.first, head.last + 1))
            assert head.first >= 20 * STEP_BYTES // MESSAGE_BYTES - 9

    asyncio.run(main())


def test_killing_appending_processes_loses_no_acknowledged_message(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    acknowledged: dict[str, int] = {}
    for turn in range(15):
        for line in kill_two_appenders(path, turn):
            key, seq = line.split()
            assert key not in acknowledged
            acknowledged[key] = int(seq)

    async def main() -> None:
        async with open_store(path) as backend:
            messages = await read_all(backend, "ops")
            assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
            stored = {m.key: m.seq for m in messages}
            assert len(stored) == len(messages)
            assert acknowledged.items() <= stored.items()
            assert len(acknowledged) > 30 * 10

    asyncio.run(main())


def kill_two_appenders(path: Path, turn: int) -> list[str]:
    """Kill two processes that append at the same time; return the complete lines that they have printed."""
    pair = [start_appender(path, f"{turn}{name}") for name in "ab"]
    lines: list[str] = []
    for process in pair:
        assert process.stdout is not None
        lines += [process.stdout.readline() for _ in range(10 + 7 * turn)]
    for process in pair:
        process.send_signal(signal.SIGKILL)
    for process in pair:
        lines += process.communicate()[0].splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
