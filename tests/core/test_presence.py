"""Presence: who is in a room, in this process and in others."""

import asyncio
import time
from pathlib import Path

import pytest
from faulty_backend import Faults
from harness import run, until

from chatkit.backends.memory import MemoryBackend
from chatkit.backends.sqlite import SqliteBackend
from chatkit.core import presence
from chatkit.core.hub import Hub
from chatkit.core.signals import MembersChanged, Signal
from chatkit.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_pauses")


def test_the_first_member_is_reported_soon_after_boot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "INTERVAL_S", 1000.0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        booted_s = loop.time()
        monkeypatch.setattr(loop, "time", lambda: time.monotonic() - booted_s)
        reported: list[MembersChanged] = []
        tracker = presence.PresenceTracker(MemoryBackend(), reported.append)
        tracker.enter("ops", "ann")
        assert tracker._due is not None
        assert tracker._due.when() <= loop.time() + presence.DELAY_S
        tracker.stop()

    run(main())


def test_presence_changes_are_reported_at_most_once_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "INTERVAL_S", 1000.0)

    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            received: list[Signal] = []
            await hub.subscribe("ops", on_signal=received.append)
            bob = await hub.subscribe("ops", member="bob")
            again = await hub.subscribe("ops", member="bob")
            (await hub.subscribe("ops", member="cat")).close()
            await hub.subscribe("ops", member="dan")
            await until(lambda: received)
            assert [(c.joined, c.left, c.count) for c in received if isinstance(c, MembersChanged)] == [
                (["bob", "dan"], [], 2)
            ]
            assert [member.name for member in hub.members("ops", 1)] == ["bob"]
            assert hub.count("ops") == 2
            received.clear()
            bob.close()
            again.close()
            assert hub._presence._due is not None
            assert hub._presence._due.when() > asyncio.get_running_loop().time() + 900
            hub._presence._due.cancel()
            hub._presence._report()
            assert [(c.joined, c.left, c.count) for c in received if isinstance(c, MembersChanged)] == [
                ([], ["bob"], 1)
            ]

    run(main())


def test_members_of_another_process_join_and_leave(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub:
            received: list[Signal] = []
            await hub.subscribe("ops", member="ann", on_signal=received.append)
            async with Hub(two) as other:
                bob = await other.subscribe("ops", member="bob")
                await until(lambda: hub.count("ops") == 2 == other.count("ops"))
                bob.close()
                await until(lambda: hub.count("ops") == 1)
                await other.subscribe("ops", member="cat")
                await until(lambda: hub.count("ops") == 2)
            await until(lambda: hub.count("ops") == 1)
            joined = [name for change in received if isinstance(change, MembersChanged) for name in change.joined]
            left = [name for change in received if isinstance(change, MembersChanged) for name in change.left]
            await until(lambda: not hub._presence.roster.has_changes)
            assert sorted(joined) == ["ann", "bob", "cat"]
            assert left[:1] == ["bob"]

    run(main())


def test_the_members_of_a_paused_process_expire_and_return(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "TTL_S", 0.2)

    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with Faults(SqliteBackend(path)) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            await hub.subscribe("ops", member="ann")
            await until(lambda: other.count("ops") == 1)
            release = one.hold("announce")  # a paused process does not announce
            await until(lambda: other.count("ops") == 0, "they never expired")
            release.set()
            await until(lambda: other.count("ops") == 1, "they never returned")

    run(main())


def test_the_members_of_a_suspended_machine_return(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # During a suspension, the loop's clock stands still and the wall clock does not.
    clock, clock_ns = time.time, time.time_ns

    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            await hub.subscribe("ops", member="ann")
            await other.subscribe("ops", member="bob")
            await until(lambda: hub.count("ops") == 2 == other.count("ops"))
            monkeypatch.setattr(time, "time", lambda: clock() + 3_600)
            monkeypatch.setattr(time, "time_ns", lambda: clock_ns() + 3_600 * 10**9)
            async with SqliteBackend(path) as third, Hub(third) as witness:  # it has never known the expired members
                await witness.subscribe("ops", history=0)
                await until(lambda: witness.count("ops") == 2, "they never returned")
                await until(lambda: hub.count("ops") == 2 == other.count("ops"))

    run(main())


def test_presence_is_shared_again_when_the_store_is_available(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with Faults(SqliteBackend(path)) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            one.failures = {"announce": Unavailable("away"), "poll_presence": Unavailable("away")}
            await hub.subscribe("ops", member="ann")
            await until(lambda: one.calls["announce"] > 2)
            one.failures.clear()
            await until(lambda: other.count("ops") == 1)

    run(main())
