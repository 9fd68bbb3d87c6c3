"""Faults of an SQLite store in use: replaced and damaged files, restored backups, full and read-only disks."""

import asyncio
import itertools
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlite_stores import fill_room, open_store, opening_error, read_all, wait_until_empty

from chatkit.backends.conformance.suite import until
from chatkit.core.backend import Backend, Disconnected, Reconnected
from chatkit.core.model import Draft, Message
from chatkit.errors import StoreError, Unavailable


@pytest.fixture
def quick_file_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.backends.sqlite.listener.FILE_CHECK_S", 0.05)


def remove(path: Path) -> None:
    path.unlink()


def move_away(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replace_by_a_backup(path: Path) -> None:
    backup = path.with_name("backup")
    with sqlite3.connect(path) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    backup.rename(path)


def remove_the_write_ahead_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def remove_the_index(path: Path) -> None:
    path.with_name(f"{path.name}-shm").unlink()


def overwrite(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size or 4_096))


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def make_the_folder_unreachable(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


@pytest.mark.parametrize(
    "damage",
    [
        remove,
        move_away,
        replace_by_a_backup,
        remove_the_write_ahead_log,
        remove_the_index,
        overwrite,
        truncate,
        make_the_folder_unreachable,
    ],
)
@pytest.mark.usefixtures("quick_file_checks")
def test_a_replaced_or_damaged_file_accepts_no_messages(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    async def main() -> None:
        async with open_store(folder / "x.db") as backend:
            # Otherwise the checkpoint could overwrite the damage.
            await wait_until_empty(folder / "x.db-wal")
            await backend.append([Draft("a", "ann", "1")])
            damage(folder / "x.db")
            (broken,) = await until(backend.notifications(), lambda item: isinstance(item, Disconnected))
            assert isinstance(broken, Disconnected)
            for write in (
                lambda: backend.append([Draft("a", "ann", "2")]),
                lambda: backend.append([Draft("a", "ann", str(n)) for n in range(300)]),
                lambda: backend.redact("a", 1),
            ):
                with pytest.raises(Unavailable) as caught:
                    await write()
                assert str(caught.value) == broken.reason

    asyncio.run(main())


@pytest.mark.usefixtures("quick_file_checks")
def test_a_file_that_is_moved_back_accepts_messages_again(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.db"
        async with open_store(path) as backend:
            notifications = backend.notifications()
            (first,) = await backend.append([Draft("a", "ann", "1")])
            await backend.watch("a")
            path.rename(tmp_path / "elsewhere")
            await until(notifications, lambda item: isinstance(item, Disconnected))
            (tmp_path / "elsewhere").rename(path)
            await until(notifications, lambda item: isinstance(item, Reconnected))
            (second,) = await backend.append([Draft("a", "ann", "2")])
            assert (second.message.epoch, second.message.seq) == (first.message.epoch, 2)

    asyncio.run(main())


def test_damage_found_by_a_read_also_stops_appends(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill_room(path, 2_000)

    async def main() -> None:
        async with open_store(path) as backend:
            await wait_until_empty(tmp_path / "x.db-wal")
            await backend.append([Draft("a", "ann", "1")])
            with path.open("r+b") as file:
                file.seek(8_192)
                file.write(os.urandom(path.stat().st_size - 8_192))
            with pytest.raises(StoreError):
                await backend.read("big", after=0, limit=2_000)
            with pytest.raises(Unavailable, match="cannot be used"):
                await backend.append([Draft("a", "ann", "2")])
            await until(backend.notifications(), lambda item: isinstance(item, Disconnected))

    asyncio.run(main())


@pytest.mark.parametrize("garbage", ["{", "[" * 5_000, "\udcff"])
def test_a_value_that_is_not_json_is_an_error_of_the_store(tmp_path: Path, garbage: str) -> None:
    path = tmp_path / "rooms.db"

    async def test() -> None:
        async with open_store(path) as backend:
            await backend.append([Draft("ops", "ann", "hi", data={"n": 1}), Draft("dev", "ann", "hi")])
            with sqlite3.connect(path) as other:
                other.execute(
                    "UPDATE message SET data = CAST(? AS TEXT) WHERE data IS NOT NULL",
                    (garbage.encode(errors="surrogateescape"),),
                )
            with pytest.raises(StoreError, match="a value that cannot be read"):
                await backend.read("ops", limit=1)
            assert (await backend.read("dev", limit=1)).messages[0].body == "hi"

    asyncio.run(test())


async def epoch_of(path: Path, *bodies: str) -> str:
    async with open_store(path) as backend:
        await backend.append([Draft("a", "ann", body) for body in bodies])
        return (await backend.read("a")).head.epoch


def test_a_restored_backup_gets_another_epoch(tmp_path: Path) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup"
    first = asyncio.run(epoch_of(path, "1"))
    assert asyncio.run(epoch_of(path)) == first
    backup.write_bytes(path.read_bytes())
    assert asyncio.run(epoch_of(path, "2")) == first
    path.unlink()
    path.write_bytes(backup.read_bytes())  # another file
    second = asyncio.run(epoch_of(path))
    assert second != first
    assert asyncio.run(epoch_of(path)) == second


def test_a_backup_written_over_the_file_in_place_gets_another_epoch(tmp_path: Path) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup"
    first = asyncio.run(epoch_of(path, "1"))
    backup.write_bytes(path.read_bytes())
    assert asyncio.run(epoch_of(path, "2")) == first
    path.write_bytes(backup.read_bytes())  # the same file, with older content
    second = asyncio.run(epoch_of(path))
    assert second != first
    assert asyncio.run(epoch_of(path, "3")) == second


def test_closing_one_of_two_backends_in_a_process_keeps_the_locks_of_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as one:
            async with open_store(tmp_path / "x.db"):
                pass
            program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM meta').fetchone()"
            other = await asyncio.create_subprocess_exec(sys.executable, "-c", program, tmp_path / "x.db")
            assert await other.wait() == 0
            assert (tmp_path / "x.db-wal").exists(), "the other process acted as the last connection"
            await one.append([Draft("a", "ann", "1")])

    asyncio.run(main())


class Disk:
    """A disk of one megabyte: a small mount if root may make one, else this process's limit on the size of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False)
        self.is_mounted = mounted.returncode == 0
        self._limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, as on a full disk
        if not self.is_mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, self._limit[1]))

    def grow(self) -> None:
        if self.is_mounted:
            subprocess.run(["mount", "-o", "remount,size=64m", self.folder], check=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)

    def become_read_only(self) -> None:
        if self.is_mounted:
            subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)
        else:  # without the right to mount, the process is not root, so that the modes apply to it
            self.folder.chmod(0o500)
            for path in self.folder.iterdir():
                path.chmod(0o400)

    def remove(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)
        signal.signal(signal.SIGXFSZ, self._handler)
        if self.is_mounted:
            subprocess.run(["umount", self.folder], check=True)
        else:
            self.folder.chmod(0o700)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.remove()


def test_the_error_names_a_read_only_path(disk: Disk) -> None:
    path = disk.folder / "x.db"
    fill_room(path, 2)
    disk.become_read_only()
    paths = [path, disk.folder / "new.db"]
    # Root may write to every directory that is on a disk.
    if not disk.is_mounted and os.geteuid() == 0:
        paths = [Path("/proc/self/new.db")]
    for path in paths:
        error = opening_error(path)
        assert isinstance(error, Unavailable)
        assert str(path) in str(error)


def test_a_full_disk_loses_no_message_and_appends_resume_when_there_is_space(disk: Disk) -> None:
    async def main() -> None:
        stored: list[Message] = []
        async with open_store(disk.folder / "x.db") as backend:
            with pytest.raises(Unavailable) as caught:
                await append_until_error(backend, stored)
            assert "disk is full" in str(caught.value) or not disk.is_mounted
            assert stored
            assert await read_all(backend, "a") == stored
            with pytest.raises(Unavailable):
                await backend.append([Draft("a", "ann", "x" * 60_000) for _ in range(30)])
            disk.grow()
            stored += [r.message for r in await backend.append([Draft("a", "ann", "room again" * 5_000)] * 9)]
            assert await read_all(backend, "a") == stored
        async with open_store(disk.folder / "x.db") as backend:
            assert await read_all(backend, "a") == stored

    asyncio.run(main())


async def append_until_error(backend: Backend, stored: list[Message]) -> None:
    for n in itertools.count():
        batch = [Draft("a", "ann", f"{n}.{i}" + "x" * 3_000) for i in range(4)]
        stored += [receipt.message for receipt in await backend.append(batch)]
