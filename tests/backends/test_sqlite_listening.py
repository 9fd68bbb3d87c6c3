"""Notifications and presence between the processes on one SQLite store."""

import asyncio
import sqlite3
from pathlib import Path

from sqlite_stores import open_store, read_all, start_appender

from chatkit.backends.conformance.suite import until
from chatkit.backends.sqlite.presence import announce
from chatkit.core.backend import Disconnected, Reconnected, RoomAdvanced
from chatkit.core.model import Draft, Member


def test_a_notification_of_many_messages_carries_only_the_last_number(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as one, open_store(tmp_path / "x.db") as two:
            await one.watch("a")
            await two.append([Draft("a", "ann", str(n)) for n in range(1_500)])
            epoch = (await one.read("a", limit=1)).head.epoch
            assert await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced)) == [
                RoomAdvanced("a", 1_500, epoch=epoch)
            ]

    asyncio.run(main())


def test_an_error_while_polling_is_notified_and_polling_resumes(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as one, open_store(tmp_path / "x.db") as two:
            await one.watch("a")
            await two.append([Draft("a", "ann", "1")])
            other = sqlite3.connect(tmp_path / "x.db")
            notifications = one.notifications()
            await until(notifications, lambda item: isinstance(item, RoomAdvanced))
            hide = "ALTER TABLE redaction RENAME TO elsewhere; ALTER TABLE meta RENAME TO away"
            show = "ALTER TABLE away RENAME TO meta; ALTER TABLE elsewhere RENAME TO redaction"
            other.executescript(f"BEGIN IMMEDIATE; {hide}; COMMIT")
            seen = await until(notifications, lambda item: isinstance(item, Disconnected))
            other.executescript(f"BEGIN IMMEDIATE; {show}; COMMIT")
            other.close()
            await two.append([Draft("a", "ann", "2")])
            seen += await until(notifications, lambda item: isinstance(item, Reconnected))
            kinds = [type(item) for item in seen]
            assert kinds == [Disconnected, RoomAdvanced, Reconnected] or kinds == [Disconnected, Reconnected]
            if kinds == [Disconnected, Reconnected]:  # polling resumed before the append
                await until(notifications, lambda item: isinstance(item, RoomAdvanced) and item.last == 2)

    asyncio.run(main())


def test_appends_of_another_process_are_notified(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            await backend.watch("ops")
            process = start_appender(tmp_path / "x.db", "other", 80)
            last = sum(1 + n % 8 for n in range(80))
            await until(backend.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.last == last)
            printed, _ = await asyncio.to_thread(process.communicate)
            assert len(printed.splitlines()) == last == len(await read_all(backend, "ops"))

    asyncio.run(main())


def test_the_cost_of_an_announcement_does_not_depend_on_the_number_of_members(tmp_path: Path) -> None:
    async def make() -> None:
        async with open_store(tmp_path / "x.db"):
            pass

    asyncio.run(make())
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    members = [("ops", Member(f"name {n}", n)) for n in range(5_000)]
    announce(connection, process="p1", joined=members, left=[], ttl_s=600)
    for member in members[:200]:  # more members that left than are kept: each announcement deletes the oldest
        announce(connection, process="p1", joined=[], left=[member], ttl_s=600)
    ticks: list[None] = []
    connection.set_progress_handler(lambda: ticks.append(None), 100)
    announce(connection, process="p1", joined=[], left=[members[200]], ttl_s=600)
    connection.close()
    assert len(ticks) < 10  # each is a hundred steps of SQLite: far fewer steps than members
