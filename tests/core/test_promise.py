"""The main promise: every reader gets every message once and in order, and a gap for missing ones."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from faulty_backend import Faults
from harness import draft, is_left_clean, publish_all, read_in_memory, run, small_tails, turns, until
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from witness import Log, Witness

from chatkit.backends.sqlite import SqliteBackend
from chatkit.core.backend import RoomAdvanced
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Head, Message
from chatkit.core.subscription import Subscription
from chatkit.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_pauses")


class Schedule:
    """Readers of a room, and events of the room in a random order."""

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
        await getattr(self, f"_{what}")(n)

    async def _publish(self, n: int) -> None:
        self.count += 1
        receipts = await publish_all(
            self.publishers[n % len(self.publishers)], *(f"{self.count}.{i}" for i in range(n))
        )
        self.log.committed(sorted(receipts, key=lambda receipt: receipt.message.seq))

    async def _other(self, n: int) -> None:
        """Commit messages that the hub gets only by notifications, if at all."""
        if self.backend is not None:
            self.count += 1
            receipts = await self.backend.inner.append([draft(f"{self.count}.{i}") for i in range(1 + n % 6)])
            self.log.committed(receipts)
            messages = [receipt.message for receipt in receipts]
            if not self.backend.is_deaf:
                self.backend.inject(RoomAdvanced("ops", messages[-1].seq, messages[n % 4 :] if n % 2 else ()))

    async def _history(self, n: int) -> None:
        await self.subscribe(None, n)

    async def _cursor(self, n: int) -> None:
        head = (await self.hub.history("ops")).head
        await self.subscribe(Cursor("other" if n % 5 == 0 else head.epoch, max(0, head.last + 3 - n)), 0)

    async def _trim(self, n: int) -> None:
        head = (await self.hub.history("ops")).head
        self.log.trimmed[head.epoch] = max(self.log.trimmed[head.epoch], head.last - n)
        await self.hub._backend.trim(keep=n)

    async def _redact(self, n: int) -> None:
        head = (await self.hub.history("ops")).head
        if head.first <= head.last:
            await self.hub.redact("ops", max(head.first, head.last - n))

    async def _turn(self, n: int) -> None:
        await turns(n % 4)

    async def _wipe(self, _: int) -> None:
        if self.backend is not None:
            self.backend.wipe()

    async def _deaf(self, n: int) -> None:
        if self.backend is not None:
            self.backend.is_deaf = not self.backend.is_deaf
            if n % 2 and not self.backend.is_deaf:
                self.backend.inject(Unavailable("the connection was lost"))

    async def _chunk(self, n: int) -> None:
        subscription, witness = self.readers[n % len(self.readers)]
        witness.saw(read_in_memory(subscription))

    async def _read(self, n: int) -> None:
        subscription, witness = self.readers[n % len(self.readers)]
        witness.saw(await subscription.read(1 + n % 5, wait=False))

    async def _iterate(self, n: int) -> None:
        subscription, witness = self.readers[n % len(self.readers)]
        end = (await self.hub.history("ops")).head
        if is_at_end(subscription, witness, end):
            return
        n_seen = 0
        async for item in subscription:
            witness.saw([item])
            n_seen += 1
            if n_seen > n % 6 or is_at_end(subscription, witness, end):
                break

    async def _resume(self, n: int) -> None:
        index = n % len(self.readers)
        subscription, witness = self.readers[index]
        cursor = subscription.cursor
        subscription.close()
        if witness.epoch and witness.position:
            assert cursor == Cursor(witness.epoch, witness.position)
        self.readers[index] = await self.hub.subscribe("ops", after=cursor), witness

    async def finish(self) -> None:
        """Publish once more, and check that every reader gets to the end."""
        if self.backend is not None:
            self.backend.is_deaf = False
        for hub in self.publishers:
            receipts = await publish_all(hub, "last")
            self.log.committed(receipts)
        head = (await self.hub.history("ops")).head
        for subscription, witness in self.readers:

            async def read_on(subscription: Subscription = subscription, witness: Witness = witness) -> None:
                while (witness.epoch, witness.position) != (head.epoch, head.last):
                    witness.saw(await subscription.read())

            async with asyncio.timeout(10):
                await read_on()
            subscription.close()
        await until(lambda: is_left_clean(self.hub))


def is_at_end(subscription: Subscription, witness: Witness, end: Head) -> bool:
    """Return whether an iteration would wait for new messages, here or, if the log ends, in the store."""
    known = subscription.head
    return (
        not subscription.is_due
        or subscription.cursor
        == Cursor(known.epoch, known.last)  # perhaps of a log that is gone, which was not reported yet
        or (witness.epoch or end.epoch, witness.position) == (end.epoch, end.last)
        or witness.position == end.last == 0  # no message is missing of a log that started again and is empty
    )


KINDS = [
    *["publish", "chunk", "read", "iterate"] * 3,
    "history",
    "cursor",
    "resume",
    "resume",
    "turn",
    "trim",
    "redact",
]
schedules = st.lists(
    st.tuples(st.sampled_from([*KINDS, "other", "other", "wipe", "deaf"]), st.integers(0, 30)), max_size=40
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules, st.integers(0, 3))
@example([("wipe", 0), ("cursor", 20), ("publish", 3), ("read", 17), ("iterate", 0), ("wipe", 0), ("iterate", 23)], 2)
def test_every_reader_gets_every_message_once_in_order_and_every_gap(
    script: list[tuple[str, int]], spread: int
) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = spread
            schedule = Schedule(hub, [hub], backend)
            await schedule.step("publish", 1)
            await schedule.step("history", 1)
            for what, n in script:
                await schedule.step(what, n)
            await schedule.finish()

    with small_tails():
        run(main())


@pytest.mark.parametrize("seed", range(12))
def test_the_same_holds_while_another_hub_publishes_to_the_same_file(seed: int, tmp_path: Path) -> None:
    random = Random(seed)

    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            schedule = Schedule(hub, [hub, other], None)
            await schedule.step("publish", 1)
            await schedule.step("history", 1)
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
                    into += [item.seq for item in await reader.read() if isinstance(item, Message)]
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
