"""Rooms with readers: opening and closing, notifications, redactions."""

import asyncio
from collections.abc import Sequence  # noqa: TC003  # a cheap import is no reason to hide it
from pathlib import Path

import pytest
from call_count import calls_of
from faulty_backend import Faults
from harness import cancelled_after, draft, drain, is_left_clean, publish_all, read_in_memory, run, seqs, turns, until

from chatkit.backends.sqlite import SqliteBackend
from chatkit.core.backend import Disconnected, Reconnected, RoomAdvanced
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Message
from chatkit.core.signals import Redaction, Signal
from chatkit.core.subscription import Item, Subscription
from chatkit.errors import NotFound, Unavailable

pytestmark = pytest.mark.usefixtures("no_pauses")


# Opening and closing


def test_a_subscribe_that_races_the_last_close_gets_messages() -> None:
    async def main(steps: int) -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = 2
            first = await hub.subscribe("ops")
            first.close()
            await turns(steps)
            second = await hub.subscribe("ops")
            await turns()
            assert backend.watched == {"ops"}
            await publish_all(hub, "mine")
            await backend.inner.append([draft("another's")])
            backend.inject(RoomAdvanced("ops", 2))
            seen: list[Item] = []
            while len(seen) < 2:
                seen += await second.read()
            second.close()
            await until(lambda: is_left_clean(hub) and not backend.watched)

    for steps in range(12):
        run(main(steps))


def test_concurrent_subscribes_open_the_room_once() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = 3
            readers = await asyncio.gather(*(hub.subscribe("ops") for _ in range(20)))
            assert (backend.calls["watch"], backend.calls["read"]) == (1, 1)
            for reader in readers:
                reader.close()
            await until(lambda: is_left_clean(hub))
            assert backend.calls["unwatch"] == 1

    run(main())


@pytest.mark.parametrize("steps", range(26))
@pytest.mark.parametrize("after", [None, Cursor("other", 3)])
def test_a_cancelled_subscribe_leaves_no_room_behind(steps: int, after: Cursor | None) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = 3
            found = await cancelled_after(steps, hub.subscribe("ops", after=after, member="ann"))
            if found is not None:
                found.close()
            await until(lambda: is_left_clean(hub) and not backend.watched)
            with await hub.subscribe("ops", member="ann") as reader:
                await publish_all(hub, "hi")
                assert seqs(await drain(reader)) == [1]
            await until(lambda: is_left_clean(hub) and not backend.watched)

    run(main())


@pytest.mark.parametrize("failing", [["watch"], ["read"], ["read", "unwatch"]])
def test_a_room_that_cannot_be_opened_is_removed(failing: list[str]) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.failures = {method: Unavailable(f"{method} is away") for method in failing}
            for _ in range(2):
                with pytest.raises(Unavailable, match=failing[0]):
                    await hub.subscribe("ops", member="ann")
                await until(lambda: is_left_clean(hub))
            backend.failures.clear()
            with await hub.subscribe("ops") as reader:
                await publish_all(hub, "hi")
                assert seqs(await drain(reader)) == [1]

    run(main())


def test_a_cancel_is_not_swallowed_by_a_store_that_fails_to_unwatch() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.failures["unwatch"] = Unavailable("away")
            backend.hold("read")
            subscribing = asyncio.ensure_future(hub.subscribe("ops"))
            await turns()
            subscribing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await subscribing

    run(main())


def test_a_room_that_cannot_be_unwatched_is_removed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.failures["unwatch"] = Unavailable("away")
            (await hub.subscribe("ops")).close()
            await until(lambda: is_left_clean(hub))

    run(main())


def test_ten_thousand_rooms_that_were_left_leave_nothing_in_memory() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            readers = [await hub.subscribe(f"room{n}", member="ann") for n in range(10_000)]
            assert hub.counts == {"rooms": 10_000, "subscriptions": 10_000}
            for reader in readers:
                reader.close()
            await until(lambda: is_left_clean(hub))
            assert not backend.watched
            assert not hub._presence.roster.has_announcements
            assert backend.calls["unwatch"] == 10_000

    run(main())


def test_the_cost_of_leaving_does_not_depend_on_other_rooms_and_readers() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            one = await hub.subscribe("one", member="one")
            few = calls_of(one.close)
            for n in range(2000):
                await hub.subscribe(f"room{n}", member="ann")
                await hub.subscribe("big", member=f"member{n}")
            one = await hub.subscribe("one", member="one")
            big = await hub.subscribe("big", member="one")
            assert calls_of(one.close) <= few + 5
            assert calls_of(big.close) <= few + 5

    run(main())


# Notifications


def test_messages_of_other_processes_are_delivered(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            here = await hub.subscribe("ops")
            there = await other.subscribe("ops")
            for n in range(1, 6):
                await publish_all(hub if n % 2 else other, n)
                assert seqs(await here.read()) == seqs(await there.read()) == [n]

    run(main())


@pytest.mark.parametrize("end", [None, Unavailable("the link broke"), OSError("a bug")])
def test_notifications_that_end_or_fail_are_restarted_and_rooms_are_checked(end: Exception | None) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            backend.is_deaf = True
            await backend.inner.append([draft("missed")])
            backend.inject(end)
            await until(lambda: hub.fault)
            assert seqs(await reader.read()) == [1]
            assert hub.fault is None
            await until(lambda: backend.calls["notifications"] == 2)
            await backend.inner.append([draft("received")])
            backend.inject(RoomAdvanced("ops", 2))
            assert seqs(await reader.read()) == [2]

    run(main())


def test_a_lost_connection_is_a_fault_until_it_is_restored() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.inject(Disconnected("the connection was lost"))
            await until(lambda: hub.fault == "the connection was lost")
            backend.inject(Reconnected())
            await until(lambda: hub.fault is None)

    run(main())


def test_late_repeated_merged_or_reordered_notifications_deliver_each_message_once() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            receipts = await backend.inner.append([draft(n) for n in range(1, 7)])
            messages = [receipt.message for receipt in receipts]
            for notification in (
                RoomAdvanced("ops", 4, messages[3:4]),
                RoomAdvanced("ops", 2, messages[:2]),
                RoomAdvanced("ops", 2, messages[:2]),
                RoomAdvanced("ops", 5, messages[1:5]),
                RoomAdvanced("elsewhere", 5),
                RoomAdvanced("ops", 6),
                RoomAdvanced("ops", 3),
            ):
                backend.inject(notification)
            seen: list[Item] = []
            while len(seen) < 6:
                seen += await reader.read()
            await turns()
            assert seqs([*seen, *await drain(reader)]) == [1, 2, 3, 4, 5, 6]

    run(main())


def test_messages_committed_while_a_room_is_opened_are_delivered() -> None:
    async def main() -> None:
        for old_answer in (False, True):
            async with Faults() as backend, Hub(backend) as hub:
                release = backend.hold("read", old_answer=old_answer)
                subscribing = asyncio.ensure_future(hub.subscribe("ops"))
                await turns()
                await publish_all(hub, "during the read")
                release.set()
                reader = await subscribing
                backend.after.clear()
                if old_answer:
                    assert seqs(await reader.read()) == [1]
                else:
                    assert reader.cursor.seq == 1
                await publish_all(hub, "after")
                assert seqs(await reader.read()) == [2]

    run(main())


def test_an_unavailable_store_is_asked_until_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            await backend.inner.append([draft(1)])
            backend.failures["read"] = Unavailable("away")
            backend.inject(RoomAdvanced("ops", 1))
            await until(lambda: backend.calls["read"] > 4)
            assert read_in_memory(reader) == []
            backend.failures.clear()
            assert seqs(await reader.read()) == [1]

    run(main())


def test_readers_at_every_position_get_a_gap_when_a_log_starts_again() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(900))
            at_head = await hub.subscribe("ops")
            behind = await hub.subscribe("ops", history=850)
            assert len(await behind.read(10, wait=False)) == 10
            backend.wipe()
            await publish_all(hub, "new")
            assert seqs([*await at_head.read(), *await at_head.read()]) == [(900, 1, "epoch"), 1]
            assert seqs([*await behind.read(), *await behind.read()]) == [(60, 1, "epoch"), 1]
            assert at_head.cursor == behind.cursor == Cursor(hub.heads()["ops"].epoch, 1)
            await publish_all(hub, "next")
            assert seqs(await at_head.read()) == seqs(await behind.read()) == [2]

    run(main())


def test_a_reader_of_a_new_epoch_gets_nothing_of_the_old_tail() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            await publish_all(hub, *range(1400))
            backend.wipe()
            await backend.inner.append([draft(f"new {n}") for n in range(1380)])
            seen = [*await reader.read(wait=False)]
            assert seqs(seen) == [(0, 381, "epoch")]
            assert not read_in_memory(reader)  # 1371 to 1400 of the old log are still in memory
            assert not reader.is_at_head
            while len(seen) < 1001:
                seen += await reader.read()
            assert seqs(seen[1:]) == [*range(381, 1381)]
            assert all(item.body.startswith("new") for item in seen if isinstance(item, Message))

    run(main())


# Redaction


def test_a_redaction_removes_the_body_and_is_signalled() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            received: list[Signal] = []
            reader = await hub.subscribe("ops", on_signal=received.append)
            await publish_all(hub, "secret", "public")
            assert [message.body for message in read_in_memory(reader)] == ["secret", "public"]
            backend.failures["read"] = Unavailable("away")  # a known head needs no read of the store
            left = await hub.redact("ops", 1)
            assert (left.body, left.redacted) == ("", True)
            await until(lambda: received)
            assert received == [Redaction("ops", 1)]
            backend.failures.clear()
            with await hub.subscribe("ops", history=9) as late:
                shown = read_in_memory(late)
            assert [(message.body, message.redacted) for message in shown] == [("", True), ("public", False)]
            with pytest.raises(NotFound):
                await hub.redact("ops", 3)

    run(main())


@pytest.mark.parametrize("moment", ["opening", "filling", "deepening", "fetching"])
def test_a_message_redacted_during_a_read_is_delivered_without_its_body(moment: str) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            n = 900 if moment == "fetching" else 300
            history = n - 5 if moment in {"deepening", "fetching"} else 0
            if moment != "filling":
                await publish_all(hub, *("secret" for _ in range(n)))
                first = n if moment == "opening" else 10
            reader = None if moment == "opening" else await hub.subscribe("ops", history=history)
            if moment == "filling":
                await backend.inner.append([draft("secret")])
                first = 1
            release = backend.hold("read", old_answer=True)
            if moment == "filling":
                backend.inject(RoomAdvanced("ops", 1))
            reading: asyncio.Future[Subscription | Sequence[Item]] = asyncio.ensure_future(
                hub.subscribe("ops", history=1) if reader is None else reader.read()
            )
            await until(lambda: backend.calls["read"])
            await turns()
            await backend.inner.redact("ops", first)
            await turns()
            release.set()
            outcome = await reading
            shown: Sequence[Item] = await outcome.read() if isinstance(outcome, Subscription) else outcome
            found = next(item for item in shown if isinstance(item, Message) and item.seq == first)
            assert (found.body, found.redacted) == ("", True)
            with await hub.subscribe("ops", history=history or 1) as late:
                later = [item for item in await drain(late, 300) if isinstance(item, Message) and item.seq == first]
            assert not [message for message in later if not message.redacted]

    run(main())


def test_a_redaction_in_another_process_is_signalled(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            received: list[Signal] = []
            await publish_all(other, "secret")
            await hub.subscribe("ops", history=1, on_signal=received.append)
            await other.redact("ops", 1)
            await until(lambda: received)
            assert received == [Redaction("ops", 1)]
            with await hub.subscribe("ops", history=1) as late:
                assert [message.body for message in read_in_memory(late)] == [""]

    run(main())
