"""The hub and its subscriptions: one promise, under everything that can happen to it."""

import asyncio
import gc
import itertools
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatkit.backends import conformance
from chatkit.backends.sqlite import SqliteBackend
from chatkit.core import feed as feed_module
from chatkit.core import hub as hub_module
from chatkit.core import live as live_module
from chatkit.core.backend import Backend, Broken, Filter, Grown, Mended
from chatkit.core.hub import Hub
from chatkit.core.live import Redaction, Signal, Typing
from chatkit.core.model import Cursor, Gap, Message, Receipt
from chatkit.core.roster import Change
from chatkit.core.subscription import Item, Subscription
from chatkit.errors import ChatkitError, NotFound, StoreError, Unavailable
from harness import (
    Faults,
    Log,
    Witness,
    as_line,
    cancelled_after,
    drain,
    draft,
    of_lines,
    run,
    say,
    seqs,
    turns,
    until,
)

FAULTLESS = [("memory", case) for case in conformance.cases(shared=False)]
FAULTLESS += [("sqlite", case) for case in conformance.cases(shared=True)]
names = itertools.count()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and give up at once: what is tested is what happens, not when."""
    monkeypatch.setattr(hub_module, "RETRY_S", 0.001)
    monkeypatch.setattr(hub_module, "PRESENCE_DELAY_S", 0.001)
    monkeypatch.setattr(hub_module, "PRESENCE_INTERVAL_S", 0.01)
    monkeypatch.setattr(live_module, "MAX_RETRY_S", 0.001)


@contextmanager
def small_tails() -> Iterator[None]:
    """Let a few messages be many, so that every edge of a tail is met."""
    sizes = {
        (feed_module, "MAX_MESSAGES"): 8,
        (live_module, "MAX_MESSAGES"): 8,
        (live_module, "OPENING_MESSAGES"): 4,
        (feed_module, "MAX_CHUNK_MESSAGES"): 3,
        (hub_module, "RINGS_A_TURN"): 2,
    }
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), size in sizes.items():
            patch.setattr(module, name, size)
        yield


def is_left_clean(hub: Hub) -> bool:
    rosters = vars(hub._roster)
    return (
        hub.counts == {"rooms": 0, "subscriptions": 0}
        and not (hub._live or hub._grown or hub._ringing)
        and not (rosters["_rooms"] or rosters["_untold"])
    )


# The wrapper that injects failures is itself a backend


@pytest.mark.parametrize(("kind", "case"), FAULTLESS, ids=lambda value: getattr(value, "__name__", value))
def test_the_faulty_backend_conforms_while_it_injects_nothing(
    kind: str, case: conformance.Case, tmp_path: Path
) -> None:
    conformance.run(case, lambda: Faults(SqliteBackend(tmp_path / "rooms.db") if kind == "sqlite" else None))


# Publishing


def test_what_is_published_is_committed_in_order_and_read() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            receipts = await say(hub, *range(50))
            assert [receipt.message.seq for receipt in receipts] == list(range(1, 51))
            assert backend.calls["append"] == 1
            page = await hub.read("ops", after=0, limit=100)
            assert [message.body for message in page.messages] == [str(n) for n in range(50)]
            assert [info.room for info in await hub.rooms()] == ["ops"]
            found = await hub.read("ops", where=Filter(search="49"))
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
def test_a_failed_append_answers_every_publisher_shows_and_passes(failure: Exception) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            assert hub.fault is None
            backend.failures["append"] = failure
            outcomes = await asyncio.gather(*(hub.publish(draft(n)) for n in range(5)), return_exceptions=True)
            assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
            assert hub.fault
            backend.failures.clear()
            await say(hub, "hi")
            assert hub.fault is None
            assert seqs(await drain(reader)) == [1]

    run(main())


@pytest.mark.parametrize("steps", range(14))
def test_a_publish_that_is_cancelled_harms_nobody(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = 2
            reader = await hub.subscribe("ops")
            other = asyncio.ensure_future(hub.publish(draft("other")))
            mine = await cancelled_after(steps, hub.publish(draft("mine")))
            assert (await other).message.body == "other"
            assert (await say(hub, "last"))[0].message.body == "last"
            items = await drain(reader)
            assert seqs(items) == list(range(1, len(items) + 1))
            assert mine is None or mine.message in items

    run(main())


# Where a reader starts


@pytest.mark.parametrize(
    ("history", "expected"), [(0, []), (3, [8, 9, 10]), (10, [*range(1, 11)]), (999, [*range(1, 11)])]
)
@pytest.mark.parametrize("is_read_already", [False, True])
def test_history_is_so_many_before_the_end(history: int, expected: list[int], is_read_already: bool) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            if is_read_already:
                await hub.subscribe("ops")
            await say(hub, *range(10))
            with await hub.subscribe("ops", history=history) as reader:
                assert seqs(await drain(reader)) == expected
                await say(hub, "live")
                assert seqs(await drain(reader)) == [11]
                assert reader.is_at_head
                assert reader.cursor == Cursor(reader.head.epoch, 11)

    run(main())


def test_a_reader_far_behind_and_many_at_once_ask_the_store_little() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, *range(400))
            readers = [await hub.subscribe("ops", history=300) for _ in range(50)]
            backend.calls.clear()
            found = await asyncio.gather(*(drain(reader, 400) for reader in readers))
            assert all(seqs(items) == list(range(101, 401)) for items in found)
            assert backend.calls["read"] == 1

    run(main())


@pytest.mark.parametrize("is_read_already", [False, True])
def test_cursors_of_every_kind(is_read_already: bool) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, *range(2000))
            await backend.trim(keep=900)
            epoch = (await hub.read("ops")).head.epoch
            if is_read_already:
                await hub.subscribe("ops", history=1)

            async def read_from(cursor: Cursor) -> list[object]:
                with await hub.subscribe("ops", after=cursor) as reader:
                    return list(seqs(await drain(reader, 100)))

            assert await read_from(Cursor(epoch, 2000)) == []
            assert await read_from(Cursor(epoch, 1998)) == [1999, 2000]
            assert await read_from(Cursor(epoch, 1100)) == [*range(1101, 2001)]
            assert await read_from(Cursor(epoch, 5)) == [(5, 1101, "trimmed"), *range(1101, 2001)]
            assert await read_from(Cursor(epoch, 2001)) == [(2001, 1101, "epoch"), *range(1101, 2001)]
            assert await read_from(Cursor("other", 7)) == [(7, 1101, "epoch"), *range(1101, 2001)]
            assert await read_from(Cursor("other", 1999)) == [(1999, 1101, "epoch"), *range(1101, 2001)]

    run(main())


def test_a_room_that_was_trimmed_wholly_is_a_gap() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, 1, 2, 3)
            epoch = (await hub.read("ops")).head.epoch
            await backend.trim(keep=0)
            with await hub.subscribe("ops", after=Cursor(epoch, 1)) as reader:
                assert seqs(await drain(reader)) == [(1, 4, "trimmed")]
                await say(hub, 4)
                assert seqs(await drain(reader)) == [4]

    run(main())


# Reading


def test_a_bell_rings_once_a_turn_and_take_has_it_all() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            rung: list[int] = []
            reader = await hub.subscribe("ops", bell=lambda: rung.append(1))
            assert reader.take(as_line) == b""
            await say(hub, *range(100))
            await turns()
            assert len(rung) == 1
            assert [message.seq for message in of_lines(reader.take(as_line) or b"")] == list(range(1, 101))
            assert reader.take(as_line) == b""
            assert not reader.is_due

    run(main())


def test_iterating_waits_and_ends_when_the_subscription_is_closed() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, 1, 2)
            reader = await hub.subscribe("ops", history=9)
            seen: list[Item] = []

            async def read() -> None:
                async for item in reader:
                    seen.append(item)  # noqa: PERF401  # what was seen so far is looked at meanwhile

            reading = asyncio.ensure_future(read())
            await until(lambda: len(seen) == 2)
            await say(hub, 3)
            await until(lambda: len(seen) == 3)
            reader.close()
            await reading
            reader.close()
            assert reader.take(as_line) == b""
            assert list(await reader.fetch()) == list(await reader.next()) == []
            await until(lambda: is_left_clean(hub))

    run(main())


@pytest.mark.parametrize("had", range(1, 7))
def test_leaving_a_loop_loses_nothing_of_what_it_was_not_given(had: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, *range(5))
            reader = await hub.subscribe("ops", after=Cursor("other", 9))
            seen: list[Item] = []
            async for item in reader:
                seen.append(item)
                if len(seen) == had:
                    break
            cursor = reader.cursor
            reader.close()
            with await hub.subscribe("ops", after=cursor) as again:
                seen += await drain(again)
            assert seqs(seen) == [(9, 1, "epoch"), 1, 2, 3, 4, 5]

    run(main())


def test_reading_on_by_other_means_within_a_loop_repeats_nothing() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, *range(6))
            reader = await hub.subscribe("ops", history=9)
            seen: list[Item] = []
            async for item in reader:
                seen.append(item)
                if len(seen) == 2:
                    seen += await reader.fetch(2)
                if len(seen) == 6:
                    break
            assert seqs(seen) == [1, 2, 3, 4, 5, 6]

    run(main())


@pytest.mark.parametrize("steps", range(10))
def test_a_fetch_that_is_cancelled_leaves_the_position(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, *range(900))
            reader = await hub.subscribe("ops", history=850)
            backend.turns = 2
            found = await cancelled_after(steps, reader.fetch(100))
            rest = await drain(reader, 100)
            assert seqs([*(found or ()), *rest]) == list(range(51, 901))
            backend.turns = 0

    run(main())


@pytest.mark.parametrize("steps", range(6))
def test_an_iteration_that_is_cancelled_leaves_the_position(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            assert await cancelled_after(steps, reader.next()) is None
            await say(hub, 1)
            assert seqs(await reader.next()) == [1]

    run(main())


def test_a_store_that_is_away_delays_a_reader_and_loses_nothing() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, *range(900))
            reader = await hub.subscribe("ops", history=850)
            backend.failures["read"] = Unavailable("away")
            with pytest.raises(Unavailable):
                await reader.fetch()
            backend.failures.clear()
            assert seqs(await drain(reader, 100)) == list(range(51, 901))

    run(main())


def test_a_closed_reader_is_given_nothing_that_was_on_its_way() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, *range(900))
            for history in (850, 300):  # from the store, and from a tail that is deepened
                reader = await hub.subscribe("ops", history=history)
                position = reader.cursor
                gate = backend.hold("read", old_answer=True)
                fetching = asyncio.ensure_future(reader.fetch())
                await turns()
                reader.close()
                gate.set()
                assert list(await fetching) == []
                assert reader.cursor == position
                assert not reader.is_due

    run(main())


def test_a_bell_or_a_signal_that_raises_leaves_nobody_deaf(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            rung: list[object] = []
            before = await hub.subscribe("ops", bell=lambda: rung.append(1), signalled=rung.append)
            await hub.subscribe("ops", bell=refuse, signalled=refuse)
            await hub.subscribe("ops", bell=lambda: rung.append(2), signalled=rung.append)
            for n in (1, 2):
                await say(hub, n)
                await turns()
                assert sorted(map(str, rung)) == ["1", "2"]
                rung.clear()
                hub.typing("ops", "bob")
                assert rung == [Typing("ops", "bob")] * 2
                rung.clear()
            before.close()

    run(main())
    assert "ZeroDivisionError" in caplog.text


def test_rounds_of_bells_do_not_pile_up_in_a_giant_room_and_small_ones_get_turns() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            n_readers = 10 * hub_module.RINGS_A_TURN
            rung = [0, 0]

            def ring_giant() -> None:
                rung[0] += 1

            def ring_small() -> None:
                rung[1] += 1

            for _ in range(n_readers):
                await hub.subscribe("giant", bell=ring_giant)
            await hub.subscribe("small", bell=ring_small)
            n_turns = 100
            for n in range(n_turns):
                hub._grow("giant", n + 1, [Message("giant", hub.heads()["giant"].epoch, n + 1, 0, "ann", "")])
                if n == 50:
                    await backend.append([draft("", room="small")])
                    hub._grow("small", 1, (await hub.read("small")).messages)
                await asyncio.sleep(0)
                assert len(hub._ringing) <= 2
                assert rung[0] <= (n + 1) * hub_module.RINGS_A_TURN
                assert rung[1] == (n > 51) or n < 53
            before = rung[0]
            await turns(40)
            assert rung[0] - before <= 2 * n_readers
            assert not hub._ringing

    run(main())


# The one promise


class Schedule:
    """Readers, and all that can happen to a room, in an order that is drawn."""

    def __init__(self, hub: Hub, publishers: list[Hub], backend: Faults | None) -> None:
        self.hub = hub
        self.publishers = publishers
        self.backend = backend
        self.log = Log()
        self.readers: list[tuple[Subscription, Witness]] = []
        self.count = 0

    async def subscribe(self, after: Cursor | None, history: int) -> None:
        subscription = await self.hub.subscribe("ops", after=after, history=history)
        start = subscription.cursor if after is None else after
        self.readers.append((subscription, Witness(self.log, start.epoch, start.seq)))

    async def step(self, what: str, n: int) -> None:
        if what == "publish":
            hub = self.publishers[n % len(self.publishers)]
            self.count += 1
            receipts = await say(hub, *(f"{self.count}.{i}" for i in range(n)))
            self.log.committed(sorted(receipts, key=lambda receipt: receipt.message.seq))
        elif what == "history":
            await self.subscribe(None, n)
        elif what == "cursor":
            head = (await self.hub.read("ops")).head
            await self.subscribe(Cursor("other" if n % 5 == 0 else head.epoch, max(0, head.last - n)), 0)
        elif what == "trim":
            head = (await self.hub.read("ops")).head
            self.log.trimmed[head.epoch] = max(self.log.trimmed[head.epoch], head.last - n)
            await self.hub.backend.trim(keep=n)
        elif what == "redact":
            head = (await self.hub.read("ops")).head
            if head.first <= head.last:
                await self.hub.redact("ops", max(head.first, head.last - n))
        elif what == "turn":
            await turns(n % 4)
        elif self.backend is not None and what == "wipe":
            self.backend.wipe()
        elif self.backend is not None and what == "deaf":
            self.backend.is_deaf = not self.backend.is_deaf
        elif self.readers:
            await self._read(what, n)

    async def _read(self, what: str, n: int) -> None:
        index = n % len(self.readers)
        subscription, witness = self.readers[index]
        if what == "take":
            taken = subscription.take(as_line)
            witness.saw([] if taken is None else of_lines(taken))
        elif what == "fetch":
            witness.saw(await subscription.fetch(1 + n % 5))
        elif what == "iterate" and subscription.is_due:
            n_seen = 0
            async for item in subscription:
                witness.saw([item])
                n_seen += 1
                if n_seen > n % 6 or not subscription.is_due:
                    break
        elif what == "resume":
            cursor = subscription.cursor
            subscription.close()
            again = await self.hub.subscribe("ops", after=cursor)
            if witness.epoch:
                assert cursor == Cursor(witness.epoch, witness.position)
            self.readers[index] = again, witness

    async def finish(self) -> None:
        """Publish once more, and see to it that every reader comes to the end."""
        for hub in self.publishers:
            receipts = await say(hub, "last")
            self.log.committed(receipts)
        head = (await self.hub.read("ops")).head
        for subscription, witness in self.readers:

            async def read_on(subscription: Subscription = subscription, witness: Witness = witness) -> None:
                while (witness.epoch, witness.position) != (head.epoch, head.last):
                    witness.saw(await subscription.next())

            async with asyncio.timeout(10):
                await read_on()
            subscription.close()
        await until(lambda: is_left_clean(self.hub))


KINDS = [
    *["publish", "take", "fetch", "iterate"] * 3,
    "history",
    "cursor",
    "resume",
    "resume",
    "turn",
    "trim",
    "redact",
]
schedules = st.lists(st.tuples(st.sampled_from([*KINDS, "wipe", "deaf"]), st.integers(0, 30)), max_size=40)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules, st.integers(0, 3))
def test_every_reader_sees_every_message_once_in_order_and_each_hole(
    script: list[tuple[str, int]], spread: int
) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = spread
            schedule = Schedule(hub, [hub], backend)
            await schedule.step("publish", 1)
            for what, n in script:
                await schedule.step(what, n)
            await schedule.finish()

    with small_tails():
        run(main())


@pytest.mark.parametrize("seed", range(12))
def test_the_same_while_another_hub_publishes_to_the_same_file(seed: int, tmp_path: Path) -> None:
    random = Random(seed)

    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            schedule = Schedule(hub, [hub, other], None)
            await schedule.step("publish", 1)
            for _ in range(60):
                await schedule.step(random.choice(KINDS), random.randrange(30))
            await schedule.finish()

    with small_tails():
        run(main())


@pytest.mark.parametrize("seed", range(4))
def test_readers_keep_up_while_two_hubs_publish_at_the_same_time(seed: int, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            seen: list[list[int]] = [[] for _ in range(4)]

            async def read(into: list[int], pause: Random) -> None:
                reader = await hub.subscribe("ops", after=None)
                while len(into) < 200:
                    await turns(pause.randrange(5))
                    into += [item.seq for item in await reader.next() if isinstance(item, Message)]
                    if pause.random() < 0.3:
                        reader.close()
                        reader = await hub.subscribe("ops", after=reader.cursor)

            async def publish(by: Hub, pause: Random) -> None:
                for n in range(100):
                    await by.publish(draft(n))
                    await turns(pause.randrange(9))

            async with asyncio.TaskGroup() as group:
                for n, into in enumerate(seen):
                    group.create_task(read(into, Random(f"{seed}.{n}")))
                await until(lambda: hub.counts["subscriptions"] == 4)
                for by in (hub, other):
                    group.create_task(publish(by, Random(seed)))
            assert all(into == list(range(1, 201)) for into in seen)

    with small_tails():
        run(main())


# Rooms come and go


def test_a_subscribe_that_races_the_last_unsubscribe_hears() -> None:
    async def main() -> None:
        for steps in range(12):
            async with Faults() as backend, Hub(backend) as hub:
                backend.turns = 2
                first = await hub.subscribe("ops")
                first.close()
                await turns(steps)
                second = await hub.subscribe("ops")
                await turns()
                assert backend.watched == {"ops"}
                await say(hub, "mine")
                await backend.inner.append([draft("another's")])
                backend.tell(Grown("ops", 2))
                seen: list[Item] = []
                while len(seen) < 2:
                    seen += await second.next()
                second.close()
                await until(lambda hub=hub, backend=backend: is_left_clean(hub) and not backend.watched)

    run(main())


def test_many_come_at_once_and_the_room_is_opened_once() -> None:
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
def test_a_subscribe_that_is_cancelled_leaves_nothing_behind(steps: int, after: Cursor | None) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = 3
            found = await cancelled_after(steps, hub.subscribe("ops", after=after, member="ann"))
            if found is not None:
                found.close()
            await until(lambda: is_left_clean(hub) and not backend.watched)
            with await hub.subscribe("ops", member="ann") as reader:
                await say(hub, "hi")
                assert seqs(await drain(reader)) == [1]
            await until(lambda: is_left_clean(hub) and not backend.watched)

    run(main())


@pytest.mark.parametrize("failing", [["watch"], ["read"], ["read", "unwatch"]])
def test_a_room_that_cannot_be_opened_leaves_nothing_behind(failing: list[str]) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.failures = {method: Unavailable(f"{method} is away") for method in failing}
            for _ in range(2):
                with pytest.raises(Unavailable, match=failing[0]):
                    await hub.subscribe("ops", member="ann")
                await until(lambda: is_left_clean(hub))
            backend.failures.clear()
            with await hub.subscribe("ops") as reader:
                await say(hub, "hi")
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


def test_a_room_that_cannot_be_unwatched_is_forgotten_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.failures["unwatch"] = Unavailable("away")
            (await hub.subscribe("ops")).close()
            await until(lambda: is_left_clean(hub))

    run(main())


def test_ten_thousand_rooms_joined_and_left_leave_nothing_behind() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            readers = [await hub.subscribe(f"room{n}", member="ann") for n in range(10_000)]
            assert hub.counts == {"rooms": 10_000, "subscriptions": 10_000}
            for reader in readers:
                reader.close()
            await until(lambda: is_left_clean(hub))
            assert not backend.watched
            assert not hub._roster.has_announcements
            assert backend.calls["unwatch"] == 10_000

    run(main())


def operations(job: Callable[[], object]) -> int:
    """Count the calls that a job makes, of Python's and of C's functions."""
    import sys

    count = 0

    def profile(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(profile)
    try:
        job()
    finally:
        sys.setprofile(None)
    return count


def test_leaving_costs_the_same_among_many_rooms_and_many_readers() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            one = await hub.subscribe("one", member="one")
            few = operations(one.close)
            for n in range(2000):
                await hub.subscribe(f"room{n}", member="ann")
                await hub.subscribe("big", member=f"member{n}")
            one = await hub.subscribe("one", member="one")
            big = await hub.subscribe("big", member="one")
            assert operations(one.close) <= few + 5
            assert operations(big.close) <= few + 5

    run(main())


# News


def test_news_of_other_processes_are_delivered(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            here = await hub.subscribe("ops")
            there = await other.subscribe("ops")
            for n in range(1, 6):
                await say(hub if n % 2 else other, n)
                assert seqs(await here.next()) == seqs(await there.next()) == [n]

    run(main())


@pytest.mark.parametrize("end", [None, Unavailable("the link broke"), OSError("a bug")])
def test_news_that_end_or_fail_are_begun_again_and_rooms_are_checked(
    end: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            backend.is_deaf = True
            await backend.inner.append([draft("missed")])
            faults: list[str | None] = []
            monkeypatch.setattr(hub_module.random, "uniform", lambda *_: faults.append(hub.fault) or 0)
            backend.tell(end)
            assert seqs(await reader.next()) == [1]
            assert faults[0]
            assert hub.fault is None
            await until(lambda: backend.calls["news"] == 2)
            await backend.inner.append([draft("heard")])
            backend.tell(Grown("ops", 2))
            assert seqs(await reader.next()) == [2]

    run(main())


def test_a_broken_link_shows_until_it_is_mended() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.tell(Broken("the link to the store broke"))
            await until(lambda: hub.fault == "the link to the store broke")
            backend.tell(Mended())
            await until(lambda: hub.fault is None)

    run(main())


def test_news_late_twice_folded_or_out_of_order_are_delivered_once() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            receipts = await backend.inner.append([draft(n) for n in range(1, 7)])
            messages = [receipt.message for receipt in receipts]
            for news in (
                Grown("ops", 4, messages[3:4]),
                Grown("ops", 2, messages[:2]),
                Grown("ops", 2, messages[:2]),
                Grown("ops", 5, messages[1:5]),
                Grown("elsewhere", 5),
                Grown("ops", 6),
                Grown("ops", 3),
            ):
                backend.tell(news)
            seen: list[Item] = []
            while len(seen) < 6:
                seen += await reader.next()
            await turns()
            assert seqs([*seen, *await drain(reader)]) == [1, 2, 3, 4, 5, 6]

    run(main())


def test_what_is_committed_while_a_room_is_opened_is_delivered() -> None:
    async def main() -> None:
        for old_answer in (False, True):
            async with Faults() as backend, Hub(backend) as hub:
                gate = backend.hold("read", old_answer=old_answer)
                subscribing = asyncio.ensure_future(hub.subscribe("ops"))
                await turns()
                await say(hub, "meanwhile")
                gate.set()
                reader = await subscribing
                backend.after.clear()
                if old_answer:
                    assert seqs(await reader.next()) == [1]
                else:
                    assert reader.cursor.seq == 1
                await say(hub, "after")
                assert seqs(await reader.next()) == [2]

    run(main())


def test_a_store_that_is_away_is_asked_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            await backend.inner.append([draft(1)])
            backend.failures["read"] = Unavailable("away")
            backend.tell(Grown("ops", 1))
            await until(lambda: backend.calls["read"] > 4)
            assert reader.take(as_line) == b""
            backend.failures.clear()
            assert seqs(await reader.next()) == [1]

    run(main())


def test_a_log_that_begins_anew_is_told_to_readers_wherever_they_stand() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, *range(900))
            at_head = await hub.subscribe("ops")
            behind = await hub.subscribe("ops", history=850)
            assert len(await behind.fetch(10)) == 10
            backend.wipe()
            await say(hub, "new")
            assert seqs(await at_head.next()) == [(900, 1, "epoch"), 1]
            assert seqs(await behind.next()) == [(60, 1, "epoch"), 1]
            assert at_head.cursor == behind.cursor == Cursor(hub.heads()["ops"].epoch, 1)
            await say(hub, "next")
            assert seqs(await at_head.next()) == seqs(await behind.next()) == [2]

    run(main())


# Redaction


def test_a_redaction_changes_what_is_read_and_is_told() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            heard: list[Signal] = []
            reader = await hub.subscribe("ops", signalled=heard.append)
            await say(hub, "secret", "public")
            assert [message.body for message in of_lines(reader.take(as_line) or b"")] == ["secret", "public"]
            backend.failures["read"] = Unavailable("away")  # what is known needs no store
            left = await hub.redact("ops", 1)
            assert (left.body, left.redacted) == ("", True)
            await until(lambda: heard)
            assert heard == [Redaction("ops", 1)]
            backend.failures.clear()
            with await hub.subscribe("ops", history=9) as late:
                shown = of_lines(late.take(as_line) or b"")
            assert [(message.body, message.redacted) for message in shown] == [("", True), ("public", False)]
            with pytest.raises(NotFound):
                await hub.redact("ops", 3)

    run(main())


@pytest.mark.parametrize("moment", ["opening", "filling", "deepening", "fetching"])
def test_what_is_redacted_while_the_store_is_read_is_not_shown(moment: str) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            n = 900 if moment == "fetching" else 300
            history = n - 5 if moment in {"deepening", "fetching"} else 0
            if moment != "filling":
                await say(hub, *("secret" for _ in range(n)))
                first = n if moment == "opening" else 10
            reader = None if moment == "opening" else await hub.subscribe("ops", history=history)
            if moment == "filling":
                await backend.inner.append([draft("secret")])
                first = 1
            gate = backend.hold("read", old_answer=True)
            if moment == "filling":
                backend.tell(Grown("ops", 1))
            reading = asyncio.ensure_future(hub.subscribe("ops", history=1) if reader is None else reader.next())
            await until(lambda: backend.calls["read"])
            await turns()
            await backend.inner.redact("ops", first)
            await turns()
            gate.set()
            items = await reading
            shown = await items.next() if isinstance(items, Subscription) else items
            found = next(item for item in shown if isinstance(item, Message) and item.seq == first)
            assert (found.body, found.redacted) == ("", True)
            with await hub.subscribe("ops", history=history or 1) as late:
                assert all(item.body != "secret" for item in await drain(late, 300) if getattr(item, "seq", 0) == first)

    run(main())


def test_a_redaction_in_another_process_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            heard: list[Signal] = []
            await say(other, "secret")
            await hub.subscribe("ops", history=1, signalled=heard.append)
            await other.redact("ops", 1)
            await until(lambda: heard)
            assert heard == [Redaction("ops", 1)]
            with await hub.subscribe("ops", history=1) as late:
                assert [message.body for message in of_lines(late.take(as_line) or b"")] == [""]

    run(main())


# Presence


def test_who_came_and_went_is_gathered_and_told_at_most_once_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "PRESENCE_INTERVAL_S", 1000.0)

    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            heard: list[Signal] = []
            await hub.subscribe("ops", signalled=heard.append)
            bob = await hub.subscribe("ops", member="bob")
            again = await hub.subscribe("ops", member="bob")
            (await hub.subscribe("ops", member="cat")).close()
            await hub.subscribe("ops", member="dan")
            await until(lambda: heard)
            assert [(c.joined, c.left, c.count) for c in heard if isinstance(c, Change)] == [(["bob", "dan"], [], 2)]
            assert [member.name for member in hub.members("ops", 1)] == ["bob"]
            assert hub.count("ops") == 2
            heard.clear()
            bob.close()
            again.close()
            assert hub._presence_due is not None
            assert hub._presence_due.when() > asyncio.get_running_loop().time() + 900
            hub._presence_due.cancel()
            hub._tell_presence()
            assert [(c.joined, c.left, c.count) for c in heard if isinstance(c, Change)] == [([], ["bob"], 1)]

    run(main())


def test_members_of_another_process_come_and_go(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub:
            heard: list[Signal] = []
            await hub.subscribe("ops", member="ann", signalled=heard.append)
            async with Hub(two) as other:
                bob = await other.subscribe("ops", member="bob")
                await until(lambda: hub.count("ops") == 2 == other.count("ops"))
                bob.close()
                await until(lambda: hub.count("ops") == 1)
                await other.subscribe("ops", member="cat")
                await until(lambda: hub.count("ops") == 2)
            await until(lambda: hub.count("ops") == 1)
            joined = [name for change in heard if isinstance(change, Change) for name in change.joined]
            left = [name for change in heard if isinstance(change, Change) for name in change.left]
            await until(lambda: not hub._roster.has_changes)
            assert sorted(joined) == ["ann", "bob", "cat"]
            assert left[:1] == ["bob"]

    run(main())


def test_the_members_of_a_paused_process_fade_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "PRESENCE_TTL_S", 0.2)

    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with Faults(SqliteBackend(path)) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            await hub.subscribe("ops", member="ann")
            await until(lambda: other.count("ops") == 1)
            gate = one.hold("announce")  # what a process that is paused does not do
            await until(lambda: other.count("ops") == 0, "they never faded")
            gate.set()
            await until(lambda: other.count("ops") == 1, "they never came back")

    run(main())


def test_presence_is_shared_again_when_the_store_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with Faults(SqliteBackend(path)) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            one.failures = {"announce": Unavailable("away"), "present": Unavailable("away")}
            await hub.subscribe("ops", member="ann")
            await until(lambda: one.calls["announce"] > 2)
            one.failures.clear()
            await until(lambda: other.count("ops") == 1)

    run(main())


# The end


def test_leaving_commits_what_was_taken_ends_readers_and_refuses_the_rest() -> None:
    async def main() -> None:
        async with Faults() as backend:
            hub = Hub(backend)
            async with hub:
                await say(hub, *range(900))
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
def test_a_subscribe_under_way_when_the_hub_is_left_ends(steps: int) -> None:
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
def test_a_hub_is_left_wholly_though_the_leaving_is_cancelled(steps: int, shared: bool) -> None:
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
            assert hub._is_over
            assert hub.counts["subscriptions"] == 0
            others = asyncio.all_tasks() - {asyncio.current_task(), backend._next}
            assert not [task for task in others if "Hub" in repr(task) or "_logged" in repr(task)]

    run(main())


@pytest.mark.parametrize("hung", ["append", "read", "unwatch", "announce", "present"])
def test_a_store_that_stands_still_does_not_keep_a_hub(hung: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
                backend.tell(Grown("ops", 9))
                await turns()
            assert len(outcomes) == 1

    run(main())


def test_nothing_of_a_hub_is_left_in_memory() -> None:
    async def main() -> None:
        async with Faults() as backend:
            async with Hub(backend) as hub:
                for n in range(20):
                    with await hub.subscribe(f"room{n}", member="ann"):
                        await say(hub, 1, room=f"room{n}")
            del hub
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Subscription | Hub)]

    run(main())


def test_many_hubs_end_in_any_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            backends: list[Backend] = [
                await stack.enter_async_context(SqliteBackend(tmp_path / "rooms.db")) for _ in range(3)
            ]
            hubs = [await stack.enter_async_context(Hub(backend)) for backend in backends]
            readers = [await hub.subscribe("ops") for hub in hubs]
            await say(hubs[1], "hi")
            assert [seqs(await reader.next()) for reader in readers] == [[1], [1], [1]]
            await hubs[0].__aexit__(None, None, None)
            await say(hubs[1], "there")
            assert seqs(await readers[2].next()) == [2]

    run(main())
