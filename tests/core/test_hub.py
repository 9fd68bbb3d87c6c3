"""The hub: publishing, presence, and leaving it."""

import asyncio
import gc
import time
import weakref
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from faulty_backend import Faults
from harness import cancelled_after, draft, drain, is_left_clean, publish_all, run, seqs, turns, until

from chatkit.backends import conformance
from chatkit.backends.memory import MemoryBackend
from chatkit.backends.sqlite import SqliteBackend
from chatkit.core import hub as hub_module
from chatkit.core import presence
from chatkit.core.backend import Backend, Filter, RoomAdvanced
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Gap, Message, Receipt
from chatkit.core.signals import (
    MembersChanged,
    Signal,  # a cheap import is no reason to hide it
)
from chatkit.core.subscription import Item, Subscription
from chatkit.errors import ChatkitError, Unavailable

FAULTLESS = [("memory", case) for case in conformance.cases(shared=False)]
FAULTLESS += [("sqlite", case) for case in conformance.cases(shared=True)]

pytestmark = pytest.mark.usefixtures("no_pauses")


# The wrapper that injects failures is itself a backend


@pytest.mark.parametrize(("kind", "case"), FAULTLESS, ids=lambda value: getattr(value, "__name__", value))
def test_the_faulty_backend_conforms_while_it_injects_nothing(
    kind: str, case: conformance.Case, tmp_path: Path
) -> None:
    conformance.run(case, lambda: Faults(SqliteBackend(tmp_path / "rooms.db") if kind == "sqlite" else None))


# Deleting and loading rooms


def test_readers_notice_a_deletion_and_a_load_although_notifications_are_lost() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(3))
            reader = await hub.subscribe("ops", history=3)
            assert seqs(await drain(reader)) == [1, 2, 3]
            loaded = [message for message in (await hub.history("ops")).messages if message.seq > 1]
            backend.is_deaf = True
            assert await hub.delete_room("ops")
            assert list(await reader.read()) == [Gap(3, 1, "epoch")]
            assert await hub.load(loaded) == 2
            assert list(await reader.read()) == [Gap(0, 2, "trimmed")]
            assert [message.body for message in await drain(reader) if isinstance(message, Message)] == ["1", "2"]
            assert not await hub.delete_room("never written to")
            assert await hub.load(loaded) == 0

    run(main())


def test_a_deletion_drops_the_rooms_pages_from_memory() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(700))
            behind = Cursor((await hub.history("ops", limit=1)).head.epoch, 10)
            reader = await hub.subscribe("ops", after=behind)
            assert seqs(await reader.read(5)) == [11, 12, 13, 14, 15]
            pages = hub._rooms._pages
            assert pages.find("ops", behind.epoch, 20) is not None
            await backend.delete_room("ops")  # as another process does, without the hub
            await until(lambda: hub.heads()["ops"].last == 0)
            assert list(await reader.read()) == [Gap(15, 1, "epoch")]
            assert pages.find("ops", behind.epoch, 20) is None

    run(main())


# Publishing


def test_published_messages_are_committed_in_order_and_can_be_read() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            receipts = await publish_all(hub, *range(50))
            assert [receipt.message.seq for receipt in receipts] == list(range(1, 51))
            assert backend.calls["append"] == 1
            page = await hub.history("ops", after=0, limit=100)
            assert [message.body for message in page.messages] == [str(n) for n in range(50)]
            assert [info.room for info in await hub.rooms()] == ["ops"]
            found = await hub.history("ops", where=Filter(search="49"))
            assert len(found.messages) == 1

    run(main())


def test_a_repeat_is_not_delivered_again() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            outcomes = await asyncio.gather(*(hub.publish(draft("hi", key="k")) for _ in range(3)))
            assert [outcome.repeat for outcome in outcomes] == [False, True, True]
            assert (await hub.publish(draft("hi", key="k"))).repeat
            assert seqs(await drain(reader)) == [1]

    run(main())


@pytest.mark.parametrize("failure", [Unavailable("away"), OSError("a bug")])
def test_a_failed_append_fails_every_publisher_and_is_a_fault_until_the_next_commit(failure: Exception) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            backend.failures["append"] = failure
            outcomes = await asyncio.gather(*(hub.publish(draft(n)) for n in range(5)), return_exceptions=True)
            assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
            assert hub.fault
            backend.failures.clear()
            await publish_all(hub, "hi")
            await until(lambda: hub.fault is None)
            assert seqs(await drain(reader)) == [1]

    run(main())


@pytest.mark.parametrize("steps", range(14))
def test_a_cancelled_publish_does_not_affect_others(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = 2
            reader = await hub.subscribe("ops")
            other = asyncio.ensure_future(hub.publish(draft("other")))
            mine = await cancelled_after(steps, hub.publish(draft("mine")))
            assert (await other).message.body == "other"
            assert (await publish_all(hub, "last"))[0].message.body == "last"
            items = await drain(reader)
            assert seqs(items) == list(range(1, len(items) + 1))
            assert mine is None or mine.message in items

    run(main())


# Presence


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


# Leaving


def test_leaving_commits_accepted_drafts_ends_readers_and_refuses_new_calls() -> None:
    async def main() -> None:
        async with Faults() as backend:
            hub = Hub(backend)
            async with hub:
                await publish_all(hub, *range(900))
                waiting = await hub.subscribe("ops")
                behind = await hub.subscribe("ops", history=850)
                ending = [asyncio.ensure_future(_all(reader)) for reader in (waiting, behind)]
                published = [asyncio.ensure_future(hub.publish(draft(n))) for n in range(3)]
                await asyncio.sleep(0)
            assert [(await one).message.seq for one in published] == [901, 902, 903]
            for items in await asyncio.gather(*ending):
                numbers = seqs(items)
                assert numbers == [*range(901 - len(numbers), 901)] or numbers[-1] in range(51, 904)
            assert (await backend.read("ops")).head.last == 903
            for refused in (hub.publish(draft(1)), hub.subscribe("ops")):
                with pytest.raises(Unavailable):
                    await refused
            assert is_left_clean(hub)
            assert not backend.watched
            await hub.__aexit__(None, None, None)
            assert waiting.is_closed

    async def _all(reader: Subscription) -> list[Item]:
        return [item async for item in reader]

    run(main())


@pytest.mark.parametrize("steps", range(16))
def test_a_subscribe_in_progress_ends_when_the_hub_is_left(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend:
            backend.turns = 3
            async with Hub(backend) as hub:
                subscribing = asyncio.ensure_future(hub.subscribe("ops", after=Cursor("other", 1), member="ann"))
                await turns(steps)
            with pytest.raises(Unavailable):
                await subscribing
            assert hub.counts["subscriptions"] == 0
            assert hub.count("ops") == 0

    run(main())


@pytest.mark.parametrize("steps", range(20))
@pytest.mark.parametrize("shared", [False, True])
def test_a_hub_is_left_completely_even_if_leaving_is_cancelled(steps: int, shared: bool) -> None:
    async def main() -> None:
        async with Faults() as backend:
            backend.shared = shared
            backend.turns = 3
            hub = Hub(backend)

            async def use() -> None:
                async with hub:
                    await hub.subscribe("ops", member="ann")
                    hub.submit(draft(1), outcomes.append)

            outcomes: list[Receipt | ChatkitError] = []
            using = asyncio.ensure_future(use())
            await until(lambda: hub._is_closed)
            await turns(steps)
            using.cancel()
            await asyncio.wait([using])
            assert len(outcomes) == 1
            assert hub._tasks.is_over
            assert hub.counts["subscriptions"] == 0
            others = asyncio.all_tasks() - {asyncio.current_task(), backend._next}
            assert not [task for task in others if "Hub" in repr(task) or "_logged" in repr(task)]

    run(main())


@pytest.mark.parametrize("hung", ["append", "read", "unwatch", "announce", "poll_presence"])
def test_a_store_that_hangs_does_not_keep_a_hub_from_being_left(hung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "DRAIN_S", 0.01)

    async def main() -> None:
        async with Faults() as backend:
            backend.shared = True
            async with Hub(backend) as hub:
                await hub.subscribe("ops", member="ann")
                await turns()
                backend.hold(hung)
                outcomes: list[Receipt | ChatkitError] = []
                hub.submit(draft(1), outcomes.append)
                backend.inject(RoomAdvanced("ops", 9))
                await turns()
            assert len(outcomes) == 1

    run(main())


def test_a_hub_that_was_left_is_garbage_collected() -> None:
    async def main() -> None:
        async with Faults() as backend:
            async with Hub(backend) as hub:
                left = weakref.ref(hub)
                for n in range(20):
                    with await hub.subscribe(f"forgotten{n}", member="ann"):
                        await publish_all(hub, 1, room=f"forgotten{n}")
            del hub
        gc.collect()
        readers = [one for one in gc.get_objects() if isinstance(one, Subscription)]
        assert left() is None
        assert not [one for one in readers if one.room.startswith("forgotten")]

    run(main())


def test_hubs_can_be_left_in_any_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            backends: list[Backend] = [
                await stack.enter_async_context(SqliteBackend(tmp_path / "rooms.db")) for _ in range(3)
            ]
            hubs = [await stack.enter_async_context(Hub(backend)) for backend in backends]
            readers = [await hub.subscribe("ops") for hub in hubs]
            await publish_all(hubs[1], "hi")
            assert [seqs(await reader.read()) for reader in readers] == [[1], [1], [1]]
            await hubs[0].__aexit__(None, None, None)
            await publish_all(hubs[1], "there")
            assert seqs(await readers[2].read()) == [2]

    run(main())


def test_trimming_one_room_affects_only_its_readers() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            for room in ("ops", "dev"):
                await backend.append([draft(n, room=room) for n in range(5)])
            with await hub.subscribe("ops", history=5) as ops, await hub.subscribe("dev", history=5) as dev:
                assert await hub.trim("ops", keep=2) == 3
                assert seqs(await drain(ops))[-2:] == [4, 5]
                assert seqs(await drain(dev)) == [1, 2, 3, 4, 5]
            assert (await hub.history("ops", after=0)).head.first == 4
            assert await hub.trim(keep=1) == 5

    run(main())
