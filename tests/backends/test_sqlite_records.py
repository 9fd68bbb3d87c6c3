"""Records in an SQLite store, and the deletion of its rooms: locks, lost files, and the work that a call causes."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_stores import fill_room, open_store, read_all, wait_until_empty

from chatkit.backends import conformance
from chatkit.backends.conformance.records import changes_of_a_wiped_store_are_whole
from chatkit.backends.sqlite import SqliteBackend
from chatkit.backends.sqlite import writer as sqlite_writer
from chatkit.backends.sqlite.deletion import hide_room
from chatkit.core.model import Draft


def replace_by_a_copy(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("lose", [Path.unlink, replace_by_a_copy])
def test_the_changes_of_a_lost_store_are_whole(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    path = tmp_path / "x.db"

    async def wipe() -> None:
        lose(path)

    conformance.run(
        lambda factory: changes_of_a_wiped_store_are_whole(factory, wipe), lambda: open_store(path), timeout_s=20
    )


def test_reading_records_does_not_wait_for_writers(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            record = await backend.put_record("token", "k", b"1", expected_version=0)
            cursor = (await backend.record_changes(None)).cursor
            with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                writes = [
                    asyncio.ensure_future(backend.append([Draft("a", "ann", "1")])),
                    asyncio.ensure_future(backend.put_record("token", "k", b"2", expected_version=record.version)),
                ]
                assert (await backend.record_changes(cursor)).records == []
                assert await backend.get_record("token", "k") == record
                assert await backend.scan_records("token") == [record]
                assert not any(write.done() for write in writes)
                other.execute("ROLLBACK")
            await asyncio.gather(*writes)
            assert [change.value for change in (await backend.record_changes(cursor)).records] == [b"2"]

    asyncio.run(main())


def test_changes_are_complete_after_a_checkpoint(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as one, open_store(tmp_path / "x.db") as two:
            cursor = (await one.record_changes(None)).cursor
            record = await two.put_record("token", "k", b"1", expected_version=0)
            deadline = time.monotonic() + 20
            with closing(sqlite3.connect(tmp_path / "x.db")) as other:
                while other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # another checkpoint is running
                    assert time.monotonic() < deadline
            changes = await one.record_changes(cursor)
            assert changes.records == [record]
            assert (await one.record_changes(changes.cursor)).records == []

    asyncio.run(main())


def test_an_append_and_a_look_at_changes_are_one_statement_each(tmp_path: Path) -> None:
    async def main() -> None:
        async with SqliteBackend(tmp_path / "x.db") as backend:
            await backend.put_record("token", "k", b"1", expected_version=0)
            await backend.append([Draft(room, "ann", "1") for room in "ab"])
            cursor = (await backend.record_changes(None)).cursor
            await backend._checkpoints.run(lambda _: None)  # the log is emptied at the start: an append would wait
            statements: list[str] = []
            backend._writer._connection.set_trace_callback(statements.append)
            await backend.append([Draft("ab"[n % 2], "ann", str(n), verified=n % 3 == 0, bot=n == 4) for n in range(9)])
            await backend.append([Draft("a", "ann", "2", key="k", verified=True)])
            assert len(statements) == 2
            backend._pages._connection.set_trace_callback(statements.append)
            await backend.record_changes(cursor)
            assert len(statements) == 3

    asyncio.run(main())


def test_changes_of_records_and_presence_alone_lead_to_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_BYTES", 2**19)

    async def main() -> None:
        async with SqliteBackend(tmp_path / "x.db") as backend:
            await wait_until_empty(tmp_path / "x.db-wal")
            size = (tmp_path / "x.db").stat().st_size
            for n in range(10):
                await backend.put_record("token", f"k{n}", b"x" * 60_000, expected_version=0)
                await backend.announce("p", joined=[], left=[], ttl_s=60)
            deadline = time.monotonic() + 20
            while (tmp_path / "x.db").stat().st_size < size + 400_000:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)

    asyncio.run(main())


def count_rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (messages, deleted) = connection.execute(
            "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM deleted_log)"
        ).fetchone()
    return int(messages + deleted)


def test_appends_do_not_wait_for_the_end_of_a_deletion(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill_room(path, 20_000)

    async def main() -> None:
        async with open_store(path) as backend:
            deleting = asyncio.ensure_future(backend.delete_room("big"))
            await asyncio.sleep(0)
            (receipt,) = await backend.append([Draft("big", "ann", "new")])
            assert receipt.message.seq == 1
            assert not deleting.done()
            assert [info.head.last for info in await backend.rooms()] == [1]
            assert await deleting
            assert await read_all(backend, "big") == [receipt.message]
            assert count_rows(path) == 1

    asyncio.run(main())


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_deletion_that_was_interrupted_is_completed(tmp_path: Path, is_killed: bool) -> None:
    path = tmp_path / "x.db"
    fill_room(path, 3_000)
    if is_killed:  # after the first step
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            assert hide_room(connection, "big")

    async def main() -> None:
        async with open_store(path) as backend:
            if not is_killed:
                deleting = asyncio.ensure_future(backend.delete_room("big"))
                await asyncio.sleep(0)
                await backend.append([Draft("big", "ann", "new")])
                deleting.cancel()
                await asyncio.wait([deleting])
            deadline = time.monotonic() + 20
            while count_rows(path) > (0 if is_killed else 1):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_a_deleted_rooms_bodies_and_records_are_removed_from_the_files(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            await backend.append([Draft("a", "ann", "a secret"), Draft("b", "ann", "public")])
            record = await backend.put_record("token", "k", b"a secret", expected_version=0)
            await backend.put_record("token", "k", None, expected_version=record.version)
            await backend.delete_room("a")
            await wait_until_empty(tmp_path / "x.db-wal")
            content = (tmp_path / "x.db").read_bytes()
            assert b"a secret" not in content
            assert b"public" in content

    asyncio.run(main())
