"""The file of an SQLite store: paths, permissions, versions, and files that are not stores."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_stores import fill_room, open_store, opening_error, read_all

from chatkit.backends import open_backend
from chatkit.backends.sqlite import SqliteBackend
from chatkit.backends.sqlite import schema as sqlite_schema
from chatkit.backends.sqlite.file import no_store
from chatkit.backends.sqlite.schema import APPLICATION_ID, MIGRATIONS
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Member, Receipt
from chatkit.errors import NotAStore, StoreTooNew, Unavailable


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


def test_a_path_may_be_relative_begin_with_a_tilde_and_contain_any_character(
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


def test_closing_leaves_a_single_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            await backend.append([Draft("a", "ann", "hi")])
            await backend.read("a")

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


def test_a_file_that_is_not_a_database_is_rejected_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 1_000)
    error = opening_error(path)
    assert isinstance(error, NotAStore)
    assert "notes.txt is not an SQLite database" in str(error)
    assert path.read_text() == "Dear diary, " * 1_000


def test_a_pipe_in_place_of_the_file_is_rejected_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rooms.db")
    error = opening_error(tmp_path / "rooms.db")
    assert isinstance(error, Unavailable)
    assert "is not a regular file" in str(error)


@pytest.mark.parametrize("application_id", [0, 42])
def test_another_programs_database_is_rejected_and_unchanged(tmp_path: Path, application_id: int) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    error = opening_error(path)
    assert isinstance(error, NotAStore)
    assert "another program's database" in str(error)
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    error = opening_error(path)
    assert isinstance(error, StoreTooNew)
    assert "upgrade chatkit" in str(error)


def make_old_store(path: Path, version: int) -> None:
    """Create a store as an older version of chatkit did, with a message of ann's under the key k."""
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
def test_a_store_of_an_older_version_is_upgraded(tmp_path: Path, version: int) -> None:
    async def main() -> None:
        make_old_store(tmp_path / "x.db", version)
        async with open_store(tmp_path / "x.db") as backend:
            (stored,) = await read_all(backend, "ops")
            assert (stored.epoch, stored.body, stored.verified, stored.bot) == ("old", "one", False, False)
            drafts = [Draft("ops", sender, "one", key="k") for sender in ("ann", "bob")]
            found = await backend.append([*drafts, Draft("ops", "ann", "two", key="k")])
            assert found[0] == Receipt(stored, repeat=True)
            assert not found[1].repeat
            assert found[2].conflict
            await backend.announce("p1", joined=[("ops", Member("ann", 1))], left=[], ttl_s=60)
            assert [notifications.process for notifications in await backend.poll_presence("p2")] == ["p1"]
            await backend.append([Draft("ops", "ann", "uno", of=1, act=Act.EDIT), Draft("ops", "bob", "👍", of=1)])
            (message, *_) = (await backend.read("ops", after=0, folded=True)).messages
            assert (message.body, message.state and message.state.n_replies) == ("uno", 1)
            record = await backend.put_record("token", "k", b"v", expected_version=0)
            assert (await backend.record_changes(None)).records == [record]
            assert await backend.delete_room("ops")
            assert (await backend.read("ops")).head.epoch.startswith("old")
            assert (await backend.append(drafts))[0].message.seq == 1

    asyncio.run(main())


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()

    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            assert len(await backend.append([Draft("a", "ann", "hi")])) == 1

    asyncio.run(main())


def test_the_error_names_a_path_that_cannot_hold_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, words in {
        tmp_path: "is a folder",
        tmp_path / "no" / "x.db": "there is no folder",
        tmp_path / "file" / "x.db": "there is no folder",
        tmp_path / ("x" * 300): "File name too long",
    }.items():
        error = opening_error(path)
        assert isinstance(error, Unavailable)
        assert words in str(error)


def test_a_path_that_was_meant_to_be_absolute_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "sqlite:////usr/no/rooms.db)" in str(opening_error(Path("usr/no/rooms.db")))
    for path in ("rooms.db", "no-such-folder-at-the-root/rooms.db"):
        assert "slashes" not in str(no_store(Path(path)))


def test_a_damaged_store_is_reported_as_a_bad_store(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill_room(path, 1_000)
    content = bytearray(path.read_bytes())
    content[4_096:] = b"\xff" * (len(content) - 4_096)
    path.write_bytes(content)
    assert opening_error(path).code == "bad-store"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_store_is_private_to_its_owner_with_any_umask(tmp_path: Path, umask: int) -> None:
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
    fill_room(folder / "x.db", 2)
    other = sqlite3.connect(folder / "x.db")
    other.execute("SELECT * FROM meta").fetchone()
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777 if path == folder else 0o666)

    async def main() -> None:
        async with open_store(folder / "x.db"):
            assert set(modes(folder).values()) == {0o777, 0o600}, "the folder of an explicit path was changed"
        async with SqliteBackend(folder / "x.db", make_folder=True):
            assert set(modes(folder).values()) == {0o700, 0o600}

    asyncio.run(main())
    other.close()


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


@pytest.mark.parametrize("is_there", [False, True])
def test_opening_without_make_creates_no_store(tmp_path: Path, is_there: bool) -> None:
    path = tmp_path / "typo.db"
    if is_there:
        path.touch()

    async def main() -> None:
        async with open_backend(f"sqlite:///{path}", make=False):
            pass

    with pytest.raises(NotAStore, match="no store"):
        asyncio.run(main())
    assert [file.stat().st_size for file in tmp_path.iterdir()] == ([0] if is_there else [])
