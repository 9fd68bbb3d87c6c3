"""SqliteBackend: files that are no stores, full disks, killed processes, long searches, several processes."""

import asyncio
import itertools
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from chatkit.backends import open_backend
from chatkit.backends.sqlite import SqliteBackend
from chatkit.backends.sqlite import errors as sqlite_errors
from chatkit.backends.sqlite import schema as sqlite_schema
from chatkit.backends.sqlite.checkpoint import MAX_WAL_BYTES
from chatkit.backends.sqlite.connection import ConnectionThread
from chatkit.backends.sqlite.presence import announce
from chatkit.backends.sqlite.reader import TRIM_STEP
from chatkit.backends.sqlite.schema import APPLICATION_ID, MIGRATIONS
from chatkit.core.backend import Backend, Disconnected, Filter, Notification, Reconnected, RoomAdvanced
from chatkit.core.model import Draft, Member, Message, Receipt
from chatkit.errors import ChatkitError, NotAStore, StoreError, StoreTooNew, Unavailable


def store(path: Path) -> Backend:
    return open_backend(f"sqlite:///{path}")


def refusal(path: Path) -> ChatkitError:
    """Open what cannot be opened; return why."""

    async def main() -> None:
        async with store(path):
            pass

    with pytest.raises(ChatkitError) as caught:
        asyncio.run(main())
    return caught.value


async def whole(backend: Backend, room: str) -> list[Message]:
    messages: list[Message] = []
    after = 0
    while page := (await backend.read(room, after=after, limit=10_000)).messages:
        messages += page
        after = page[-1].seq
    return messages


def fill(path: Path, rows: int, room: str = "big") -> None:
    """Write a long room with SQLite itself, so that it takes a moment only."""

    async def make() -> None:
        async with store(path) as backend:
            await backend.append([Draft(room, "ann", "the first")])

    asyncio.run(make())
    with sqlite3.connect(path) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO message (id, room, seq, time_ms, sender, body)"
            " SELECT i, 1, i, 2000000000000 + i, 'ann', printf('%d the quick brown fox jumps over the lazy dog, and"
            " goes on and on until a hundred bytes are there', i) FROM n",
            [rows],
        )
    connection.close()


# Files


def test_the_default_store_is_in_the_users_data_folder(tmp_path: Path) -> None:
    code = (
        "import asyncio; from chatkit.backends import open_backend; from chatkit.core.model import Draft\n"
        "async def main():\n"
        "    async with open_backend('sqlite://') as b: await b.append([Draft('a', 'ann', 'hi')])\n"
        "asyncio.run(main())"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert list(tmp_path.rglob("rooms.db"))


def test_a_path_may_be_relative_or_of_the_home_folder_and_hold_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()

    async def main() -> None:
        for url in ("sqlite:///here.db", "sqlite:///~/there.db", "sqlite:///a%20%23%3F%25%C3%BC.db?synchronous=full"):
            async with open_backend(url) as backend:
                await backend.append([Draft("a", "ann", "hi")])

    asyncio.run(main())
    assert {"here.db", "a #?%ü.db"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "home" / "there.db").exists()


def test_closing_leaves_one_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with store(tmp_path / "x.db") as backend:
            await backend.append([Draft("a", "ann", "hi")])
            await backend.read("a")

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 1_000)
    error = refusal(path)
    assert isinstance(error, NotAStore)
    assert "notes.txt is not an SQLite database" in str(error)
    assert path.read_text() == "Dear diary, " * 1_000


@pytest.mark.parametrize("application_id", [0, 42])
def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, application_id: int) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    error = refusal(path)
    assert isinstance(error, NotAStore)
    assert "another program's database" in str(error)
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    error = refusal(path)
    assert isinstance(error, StoreTooNew)
    assert "upgrade chatkit" in str(error)


def make_old(path: Path, version: int) -> None:
    """Make a store as an older version of chatkit made it, with a message of ann's under the key k."""
    scripts = Path(sqlite_schema.__file__).parent / "migrations"
    with sqlite3.connect(path) as connection:
        for script in MIGRATIONS[:version]:
            connection.executescript((scripts / script).read_text("utf-8"))
        connection.execute("INSERT INTO meta (one, epoch) VALUES (1, 'old')")
        connection.execute("INSERT INTO room (id, name) VALUES (1, 'ops')")
        connection.execute(
            "INSERT INTO message (id, room, seq, time_ms, sender, body, key) VALUES (1, 1, 1, 5, 'ann', 'one', 'k')"
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_store_of_an_older_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    async def main() -> None:
        make_old(tmp_path / "x.db", version)
        async with store(tmp_path / "x.db") as backend:
            (stored,) = await whole(backend, "ops")
            assert (stored.epoch, stored.body) == ("old", "one")
            drafts = [Draft("ops", sender, "one", key="k") for sender in ("ann", "bob")]
            found = await backend.append([*drafts, Draft("ops", "ann", "two", key="k")])
            assert found[0] == Receipt(stored, repeat=True)
            assert not found[1].repeat
            assert found[2].conflict
            await backend.announce("p1", joined=[("ops", Member("ann", 1))], left=[], ttl_s=60)
            assert [news.process for news in await backend.poll_presence("p2")] == ["p1"]

    asyncio.run(main())


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()

    async def main() -> None:
        async with store(tmp_path / "x.db") as backend:
            assert len(await backend.append([Draft("a", "ann", "hi")])) == 1

    asyncio.run(main())


def test_a_place_that_cannot_hold_a_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, words in {
        tmp_path: "is a folder",
        tmp_path / "no" / "x.db": "there is no folder",
        tmp_path / "file" / "x.db": "there is no folder",
        tmp_path / ("x" * 300): "File name too long",
    }.items():
        error = refusal(path)
        assert isinstance(error, Unavailable)
        assert words in str(error)


def test_a_damaged_store_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill(path, 1_000)
    content = bytearray(path.read_bytes())
    content[4_096:] = b"\xff" * (len(content) - 4_096)
    path.write_bytes(content)
    assert refusal(path).code == "bad-store"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_store_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    async def main() -> None:
        async with SqliteBackend(tmp_path / "made" / "x.db", make_folder=True) as backend:
            await backend.append([Draft("a", "ann", "private")])
            assert modes(tmp_path / "made") == {"made": 0o700, "x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600}

    before = os.umask(umask)
    try:
        asyncio.run(main())
    finally:
        os.umask(before)


def test_a_store_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    fill(folder / "x.db", 2)
    other = sqlite3.connect(folder / "x.db")
    other.execute("SELECT * FROM meta").fetchone()
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777 if path == folder else 0o666)

    async def main() -> None:
        async with store(folder / "x.db"):
            assert set(modes(folder).values()) == {0o777, 0o600}, "the folder of a path that was given is not ours"
        async with SqliteBackend(folder / "x.db", make_folder=True):
            assert set(modes(folder).values()) == {0o700, 0o600}

    asyncio.run(main())
    other.close()


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


def remove(path: Path) -> None:
    path.unlink()


def move_away(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def put_a_backup_in_its_place(path: Path) -> None:
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


def cut(path: Path) -> None:
    os.truncate(path, 0)


def make_the_folder_unreachable(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


@pytest.mark.parametrize(
    "harm",
    [
        remove,
        move_away,
        put_a_backup_in_its_place,
        remove_the_write_ahead_log,
        remove_the_index,
        overwrite,
        cut,
        make_the_folder_unreachable,
    ],
)
def test_a_file_that_is_not_the_one_that_was_opened_takes_no_messages(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    async def main() -> None:
        async with store(folder / "x.db") as backend:
            await until_empty(folder / "x.db-wal")  # else the checkpoint may write over what a test has written there
            await backend.append([Draft("a", "ann", "1")])
            harm(folder / "x.db")
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


def is_empty(path: Path) -> bool:
    return path.stat().st_size == 0


async def until_empty(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not is_empty(path):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def test_a_file_that_is_put_back_takes_messages_again(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.db"
        async with store(path) as backend:
            news = backend.notifications()
            (first,) = await backend.append([Draft("a", "ann", "1")])
            await backend.watch("a")
            path.rename(tmp_path / "elsewhere")
            await until(news, lambda item: isinstance(item, Disconnected))
            (tmp_path / "elsewhere").rename(path)
            await until(news, lambda item: isinstance(item, Reconnected))
            (second,) = await backend.append([Draft("a", "ann", "2")])
            assert (second.message.epoch, second.message.seq) == (first.message.epoch, 2)

    asyncio.run(main())


def test_damage_that_a_reading_meets_ends_publishing_too(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill(path, 2_000)

    async def main() -> None:
        async with store(path) as backend:
            await until_empty(tmp_path / "x.db-wal")
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


async def epoch_of(path: Path, *bodies: str) -> str:
    async with store(path) as backend:
        await backend.append([Draft("a", "ann", body) for body in bodies])
        return (await backend.read("a")).head.epoch


def test_a_restored_backup_is_another_log(tmp_path: Path) -> None:
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


@pytest.mark.skipif(sys.platform != "linux", reason="there are no extended attributes")
def test_a_backup_written_over_the_file_in_place_is_another_log(tmp_path: Path) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup"
    first = asyncio.run(epoch_of(path, "1"))
    backup.write_bytes(path.read_bytes())
    assert asyncio.run(epoch_of(path, "2")) == first
    path.write_bytes(backup.read_bytes())  # the same file, with older content
    second = asyncio.run(epoch_of(path))
    assert second != first
    assert asyncio.run(epoch_of(path, "3")) == second


def test_two_backends_of_one_process_share_a_file_whose_locks_outlive_the_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with store(tmp_path / "x.db") as one:
            async with store(tmp_path / "x.db"):
                pass
            program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM meta').fetchone()"
            other = await asyncio.create_subprocess_exec(sys.executable, "-c", program, tmp_path / "x.db")
            assert await other.wait() == 0
            assert (tmp_path / "x.db-wal").exists(), "the other process took itself for the last one"
            await one.append([Draft("a", "ann", "1")])

    asyncio.run(main())


@pytest.mark.parametrize("is_there", [False, True])
def test_what_only_reads_makes_no_store(tmp_path: Path, is_there: bool) -> None:
    path = tmp_path / "typo.db"
    if is_there:
        path.touch()

    async def main() -> None:
        async with open_backend(f"sqlite:///{path}", make=False):
            pass

    with pytest.raises(NotAStore, match="no store"):
        asyncio.run(main())
    assert [file.stat().st_size for file in tmp_path.iterdir()] == ([0] if is_there else [])


# Disks


class Disk:
    """A disk of one megabyte: a small mount where root may make one, else this process's limit on a file's size."""

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
        else:  # who may not mount is not root, and to them a folder's mode means something
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


def test_a_read_only_place_is_named(disk: Disk) -> None:
    path = disk.folder / "x.db"
    fill(path, 2)
    disk.become_read_only()
    places = [path, disk.folder / "new.db"]
    if not disk.is_mounted and os.geteuid() == 0:  # root writes where it likes, but for what is not a disk at all
        places = [Path("/proc/self/new.db")]
    for place in places:
        error = refusal(place)
        assert isinstance(error, Unavailable)
        assert str(place) in str(error)


def test_a_full_disk_loses_nothing_and_is_survived(disk: Disk) -> None:
    async def main() -> None:
        stored: list[Message] = []
        async with store(disk.folder / "x.db") as backend:
            with pytest.raises(Unavailable) as caught:
                await append_for_ever(backend, stored)
            assert "disk is full" in str(caught.value) or not disk.is_mounted
            assert stored
            assert await whole(backend, "a") == stored
            with pytest.raises(Unavailable):
                await backend.append([Draft("a", "ann", "x" * 60_000) for _ in range(30)])
            disk.grow()
            stored += [r.message for r in await backend.append([Draft("a", "ann", "room again" * 5_000)] * 9)]
            assert await whole(backend, "a") == stored
        async with store(disk.folder / "x.db") as backend:
            assert await whole(backend, "a") == stored

    asyncio.run(main())


async def append_for_ever(backend: Backend, stored: list[Message]) -> None:
    for n in itertools.count():
        batch = [Draft("a", "ann", f"{n}.{i}" + "x" * 3_000) for i in range(4)]
        stored += [receipt.message for receipt in await backend.append(batch)]


# Appending


def test_a_batch_may_be_larger_than_a_statement(tmp_path: Path) -> None:
    async def main() -> None:
        batch = [
            Draft("a" if n % 3 else "b", "ann", str(n), n if n % 5 else None, f"k{n % 2_500}") for n in range(3_000)
        ]
        async with store(tmp_path / "x.db") as backend:
            receipts = await backend.append(batch)
            assert sum(receipt.repeat for receipt in receipts) == 3_000 - len({(d.room, d.key) for d in batch})
            assert (await whole(backend, "a")) == [
                r.message for r in receipts if r.message.room == "a" and not r.repeat
            ]
            assert [m.seq for m in await whole(backend, "b")] == list(range(1, len(await whole(backend, "b")) + 1))

    asyncio.run(main())


@pytest.mark.parametrize("size", [1, 2, 5, 7, 31, 200, 1_023, 1_024, 1_025])
def test_batches_of_every_size_follow_each_other(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        async with store(tmp_path / "x.db") as backend:
            for _ in range(3):
                await backend.append([Draft("a", "ann", str(n)) for n in range(size)])
            assert [m.body for m in await whole(backend, "a")] == [str(n) for n in range(size)] * 3

    asyncio.run(main())


def test_a_batch_that_cannot_be_written_leaves_no_trace(tmp_path: Path) -> None:
    async def main() -> None:
        async with store(tmp_path / "x.db") as backend:
            await backend.append([Draft("a", "ann", "1")])
            for room in ("a", "new"):
                with pytest.raises(UnicodeEncodeError):
                    await backend.append([Draft(room, "ann", "fine"), Draft(room, "ann", "\ud800")])
            await backend.append([Draft("a", "ann", "2")])
            assert [(m.seq, m.body) for m in await whole(backend, "a")] == [(1, "1"), (2, "2")]
            assert [info.room for info in await backend.rooms()] == ["a"]

    asyncio.run(main())


def test_a_lock_held_for_too_long_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_errors, "BUSY_TIMEOUT_S", 0.05)

    async def main() -> None:
        async with store(tmp_path / "x.db") as backend:
            await backend.append([Draft("a", "ann", "1")])
            other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="has held the lock"):
                await backend.append([Draft("a", "ann", "2")])
            assert len(await whole(backend, "a")) == 1
            other.execute("ROLLBACK")
            other.close()
            await backend.append([Draft("a", "ann", "2")])

    asyncio.run(main())


def test_a_backend_that_was_left_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        backend = store(tmp_path / "x.db")
        async with backend:
            pass
        with pytest.raises(Unavailable, match="has been closed"):
            await backend.append([Draft("a", "ann", "1")])

    asyncio.run(main())


def test_no_thread_outlives_a_backend(tmp_path: Path) -> None:
    before = threading.active_count()
    refusal(tmp_path)

    async def main() -> None:
        async with store(tmp_path / "x.db"):
            assert threading.active_count() > before

    asyncio.run(main())
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_write_ahead_log_does_not_grow_without_bound(tmp_path: Path) -> None:
    async def main() -> None:
        batch = [Draft("a", "ann", "x" * 65_536)] * 16
        async with store(tmp_path / "x.db") as backend:
            for _ in range(3 * MAX_WAL_BYTES // 2**20 // 2):
                await backend.append(batch)
            wal = tmp_path / "x.db-wal"
            deadline = time.monotonic() + 30
            while wal.stat().st_size > MAX_WAL_BYTES:
                assert time.monotonic() < deadline
                await backend.append(batch)

    asyncio.run(main())


def test_a_redacted_body_goes_from_the_files(tmp_path: Path) -> None:
    def is_there() -> bool:
        return any(b"the-secret" in path.read_bytes() for path in tmp_path.iterdir())

    async def main() -> None:
        async with store(tmp_path / "x.db") as backend:
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


# Reading


def test_pages_and_appends_do_not_wait_for_searches(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill(path, 200_000)

    async def main() -> None:
        async with store(path) as backend:
            nowhere = Filter(search="nowhere to be found")
            searches = [asyncio.ensure_future(backend.read("big", where=nowhere)) for _ in range(30)]
            page = await backend.read("big", before=150_000, limit=50)
            assert [m.seq for m in page.messages] == list(range(149_950, 150_000))
            await backend.append([Draft("big", "ann", "meanwhile")])
            assert (await backend.read("big", limit=1)).messages[0].body == "meanwhile"
            assert not searches[-1].done()
            first = await searches[0]
            assert (list(first.messages), first.complete) == ([], True)
            for search in searches:
                search.cancel()
            await asyncio.gather(*searches, return_exceptions=True)
            found = await backend.read("big", where=Filter(search="MEANWHILE"), limit=3)
            assert [m.seq for m in found.messages] == [200_001]

    asyncio.run(main())


def test_a_reading_ends_when_its_caller_is_cancelled(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    async def main() -> None:
        lane = ConnectionThread("test", tmp_path / "x.db", lambda: sqlite3.connect(tmp_path / "x.db"))
        await lane.open()
        for turns in range(20):
            reading = asyncio.ensure_future(lane.run_interruptibly(lambda c: c.execute(endless).fetchone()))
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            assert await lane.run(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
        await lane.close()

    asyncio.run(main())


def test_a_trim_goes_in_steps_and_appends_go_in_between(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill(path, 20 * TRIM_STEP)

    async def main() -> None:
        async with store(path) as backend:
            await backend.append([Draft(f"room{n}", "ann", str(i)) for n in range(30) for i in range(40)])
            trimming = asyncio.ensure_future(backend.trim(keep=10))
            in_between = 0
            while not trimming.done():
                await backend.append([Draft("big", "ann", "in between")])
                in_between += not trimming.done()
            assert in_between
            page = await backend.read("big", after=0, limit=100_000)
            assert await trimming == page.head.first - 1 + 30 * 30
            assert [m.seq for m in page.messages] == list(range(page.head.first, page.head.last + 1))
            assert page.head.first >= 20 * TRIM_STEP - 9

    asyncio.run(main())


# Several processes


async def until(news: AsyncIterator[Notification], is_it: Callable[[Notification], bool]) -> list[Notification]:
    seen = []
    async with asyncio.timeout(20):
        async for item in news:
            seen.append(item)
            if is_it(item):
                break
    return seen


def test_news_of_very_much_tell_the_number_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with store(tmp_path / "x.db") as one, store(tmp_path / "x.db") as two:
            await one.watch("a")
            await two.append([Draft("a", "ann", str(n)) for n in range(1_500)])
            assert await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced)) == [
                RoomAdvanced("a", 1_500)
            ]

    asyncio.run(main())


def test_a_link_that_breaks_is_told_and_mended(tmp_path: Path) -> None:
    async def main() -> None:
        async with store(tmp_path / "x.db") as one, store(tmp_path / "x.db") as two:
            await one.watch("a")
            await two.append([Draft("a", "ann", "1")])
            other = sqlite3.connect(tmp_path / "x.db")
            news = one.notifications()
            await until(news, lambda item: isinstance(item, RoomAdvanced))
            other.execute("ALTER TABLE redaction RENAME TO elsewhere")
            other.execute("ALTER TABLE meta RENAME TO away")
            seen = await until(news, lambda item: isinstance(item, Disconnected))
            other.execute("ALTER TABLE away RENAME TO meta")
            other.execute("ALTER TABLE elsewhere RENAME TO redaction")
            other.close()
            await two.append([Draft("a", "ann", "2")])
            seen += await until(news, lambda item: isinstance(item, Reconnected))
            kinds = [type(item) for item in seen]
            assert kinds == [Disconnected, RoomAdvanced, Reconnected] or kinds == [Disconnected, Reconnected]
            if kinds == [Disconnected, Reconnected]:  # mended before the append
                await until(news, lambda item: isinstance(item, RoomAdvanced) and item.last == 2)

    asyncio.run(main())


CHILD = """
import asyncio, sys
from chatkit.backends import open_backend
from chatkit.core.model import Draft

async def main(url, name, count):
    async with open_backend(url) as backend:
        for n in range(count):
            batch = [Draft("ops", name, "x" * 100, key=f"{name}.{n}.{i}") for i in range(1 + n % 8)]
            for receipt in await backend.append(batch):
                print(receipt.message.key, receipt.message.seq, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def child(path: Path, name: str, count: int = 10**9) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, f"sqlite:///{path}", name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_announcing_costs_the_same_however_many_are_there(tmp_path: Path) -> None:
    async def make() -> None:
        async with store(tmp_path / "x.db"):
            pass

    asyncio.run(make())
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    crowd = [("ops", Member(f"name {n}", n)) for n in range(5_000)]
    announce(connection, process="p1", joined=crowd, left=[], ttl_s=600)
    for who in crowd[:200]:  # more than are kept of those who went: the oldest are looked for each time
        announce(connection, process="p1", joined=[], left=[who], ttl_s=600)
    ticks: list[None] = []
    connection.set_progress_handler(lambda: ticks.append(None), 100)
    announce(connection, process="p1", joined=[], left=[crowd[200]], ttl_s=600)
    connection.close()
    assert len(ticks) < 10  # of a hundred of the database's steps each: far fewer steps than members


def test_another_process_is_heard(tmp_path: Path) -> None:
    async def main() -> None:
        async with store(tmp_path / "x.db") as backend:
            await backend.watch("ops")
            process = child(tmp_path / "x.db", "other", 80)
            last = sum(1 + n % 8 for n in range(80))
            await until(backend.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.last == last)
            printed, _ = await asyncio.to_thread(process.communicate)
            assert len(printed.splitlines()) == last == len(await whole(backend, "ops"))

    asyncio.run(main())


def test_thirty_processes_killed_while_appending_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    acknowledged: dict[str, int] = {}
    for turn in range(15):
        for line in killed_pair(path, turn):
            key, seq = line.split()
            assert key not in acknowledged
            acknowledged[key] = int(seq)

    async def main() -> None:
        async with store(path) as backend:
            messages = await whole(backend, "ops")
            assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
            stored = {m.key: m.seq for m in messages}
            assert len(stored) == len(messages)
            assert acknowledged.items() <= stored.items()
            assert len(acknowledged) > 30 * 10

    asyncio.run(main())


def killed_pair(path: Path, turn: int) -> list[str]:
    """Let two processes append at once, kill both, and return the lines that they had printed wholly."""
    pair = [child(path, f"{turn}{name}") for name in "ab"]
    lines: list[str] = []
    for process in pair:
        assert process.stdout is not None
        lines += [process.stdout.readline() for _ in range(10 + 7 * turn)]
    for process in pair:
        process.send_signal(signal.SIGKILL)
    for process in pair:
        lines += process.communicate()[0].splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
