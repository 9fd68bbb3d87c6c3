"""A store in an SQLite file is copied while it is used, and a restored copy is a store with another epoch."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from harness import run
from sqlite_stores import fill_room, open_store, read_all

from chatkit.backends.sqlite.backup import copy_store
from chatkit.core.history import read_history
from chatkit.core.model import Draft, Gap
from chatkit.errors import BadRequest, NotAStore, StoreError, Unavailable


def copy(path: Path, to: Path, *, overwrite: bool = False) -> list[float]:
    shares: list[float] = []
    assert copy_store(path, to, overwrite=overwrite, on_progress=shares.append) == to.stat().st_size
    return shares


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_copy_is_the_state_of_one_moment_while_messages_are_appended(tmp_path: Path) -> None:
    path, to = tmp_path / "rooms.db", tmp_path / "copies" / "copy.db"
    to.parent.mkdir()
    fill_room(path, 60_000)

    async def main() -> int:
        async with open_store(path) as backend:
            started, appended = threading.Event(), threading.Event()

            def on_progress(share: float) -> None:
                started.set()
                assert appended.wait(20)  # messages are appended between two steps of the copy

            copying = asyncio.create_task(
                asyncio.to_thread(copy_store, path, to, overwrite=False, on_progress=on_progress)
            )
            await asyncio.to_thread(started.wait, 20)
            for n in range(20):
                await backend.append([Draft("big", "ann", f"late {n}"), Draft("other", "ann", f"{n}", key=f"{n}")])
            appended.set()
            await copying
            return (await backend.read("big", limit=1)).head.last

    assert run(main()) == 60_020
    assert files(to.parent) == {"copy.db"}
    assert to.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(to) as connection:
        assert connection.execute("SELECT count(*), max(seq) FROM message").fetchone() == (60_000, 60_000)
        assert connection.execute("SELECT count(*) FROM room").fetchone() == (1,)
    connection.close()


def test_progress_is_reported_and_no_file_is_left_beside_the_store(tmp_path: Path) -> None:
    fill_room(tmp_path / "rooms.db", 60_000)
    shares = copy(tmp_path / "rooms.db", tmp_path / "copy.db")
    assert len(shares) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert files(tmp_path) == {"rooms.db", "copy.db"}


def test_a_restored_copy_has_the_messages_and_another_epoch(tmp_path: Path) -> None:
    path, to = tmp_path / "rooms.db", tmp_path / "copy.db"

    async def main() -> None:
        async with open_store(path) as backend:
            await backend.append([Draft("ops", "ann", f"{n}", key=f"{n}") for n in range(3)])
            await backend.put_record("room", "ops", b"{}", expected_version=0)
            await asyncio.to_thread(copy, path, to)
            (later,) = await backend.append([Draft("ops", "ann", "lost")])
        path.unlink()
        to.rename(path)
        async with open_store(path) as backend:
            assert [message.body for message in await read_all(backend, "ops")] == ["0", "1", "2"]
            assert await backend.get_record("room", "ops") is not None
            page = await read_history(backend, "ops", after=later.message.cursor)
            assert page.gap == Gap(4, 1, "epoch")
            (receipt,) = await backend.append([Draft("ops", "ann", "1", key="1")])
            assert receipt.repeat

    run(main())


def test_a_copy_replaces_nothing_unless_that_is_wanted(tmp_path: Path) -> None:
    path, to = tmp_path / "rooms.db", tmp_path / "copy.db"
    fill_room(path, 10)
    to.write_text("mine")
    with pytest.raises(BadRequest, match="--force"):
        copy(path, to)
    assert to.read_text() == "mine"
    (tmp_path / "broken.db").symlink_to(tmp_path / "missing.db")
    with pytest.raises(BadRequest, match="--force"):
        copy(path, tmp_path / "broken.db")
    copy(path, to, overwrite=True)
    copy(to, tmp_path / "second.db")
    for bad in (path, tmp_path / "link.db", tmp_path, tmp_path / "used.db"):
        (tmp_path / "link.db").unlink(missing_ok=True)
        (tmp_path / "link.db").hardlink_to(path)
        (tmp_path / "used.db-wal").touch()
        with pytest.raises(BadRequest, match=r"in use as a store|is a folder"):
            copy(path, bad, overwrite=True)


def test_only_a_store_is_copied(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello" * 1_000)
    (tmp_path / "empty").touch()
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = files(tmp_path)
    for name in ("missing", "text", "empty", "other.db"):
        with pytest.raises(NotAStore):
            copy(tmp_path / name, tmp_path / "copy.db")
    fill_room(tmp_path / "rooms.db", 10)
    with pytest.raises(Unavailable, match="cannot be created"):
        copy(tmp_path / "rooms.db", tmp_path / "nowhere" / "copy.db")
    assert files(tmp_path) == before | {"rooms.db"}


def test_a_damaged_store_makes_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    fill_room(path, 5_000)
    with path.open("r+b") as file:
        file.seek(20 * 4_096)
        file.write(b"\xff" * 4_096)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        copy(path, tmp_path / "copy.db")
    assert files(tmp_path) == {"rooms.db"}


FULL_DISK = """
import resource, sys
from pathlib import Path
from chatkit.backends.sqlite.backup import copy_store
from chatkit.errors import ChatkitError
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    copy_store(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=True, on_progress=lambda share: None)
except ChatkitError as error:
    print(error.code)
"""


def test_a_disk_that_is_full_leaves_the_old_copy(tmp_path: Path) -> None:
    path, to = tmp_path / "rooms.db", tmp_path / "copy.db"
    fill_room(path, 20_000)
    to.write_text("old")
    command = [sys.executable, "-c", FULL_DISK, str(path), str(to)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "unavailable\n"
    assert to.read_text() == "old"
    assert files(tmp_path) == {"rooms.db", "copy.db"}


def test_an_interrupted_copy_leaves_nothing(tmp_path: Path) -> None:
    fill_room(tmp_path / "rooms.db", 60_000)

    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_store(tmp_path / "rooms.db", tmp_path / "copy.db", overwrite=False, on_progress=interrupt)
    assert files(tmp_path) == {"rooms.db"}
