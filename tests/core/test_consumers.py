"""Consumers on a hub: who may use them, waiting, order, rooms that are renamed, and stores that fail."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from faulty_backend import Faults
from harness import run, until

from chatkit.core.access import EVERYTHING, Identity
from chatkit.core.consumer import Consumer
from chatkit.core.consumer_records import CONSUMER, move_consumers
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Draft, Gap
from chatkit.core.page_size import MAX_PAGE_BYTES
from chatkit.core.records import Record
from chatkit.errors import BadRequest, Forbidden, StoreError, Unavailable

ADMIN = Identity("root", grants=EVERYTHING)


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def on_a_hub(test: Callable[[Hub, Faults, Clock], Coroutine[Any, Any, Any]]) -> Any:
    async def go() -> Any:
        clock = Clock()
        async with Faults() as backend, Hub(backend, now_ms=clock) as hub:
            return await test(hub, backend, clock)

    return run(go())


async def filled(hub: Hub, count: int, **settings: Any) -> Consumer:
    for n in range(count):
        await hub.publish(Draft("ops", "ann", f"m{n + 1}"))
    await hub.consumers.put("ops", "indexer", owner="ann", after="start", **settings)
    return hub.consumers.consumer("ops", "indexer")


def seqs(taken: Any) -> list[int]:
    return [message.seq for message in taken.messages]


def test_a_worker_that_waits_gets_a_message_that_is_published() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 0)
        waiting = asyncio.ensure_future(consumer.receive(wait_s=60))
        await until(lambda: hub.counts["subscriptions"])
        await hub.publish(Draft("ops", "ann", "hi"))
        assert seqs(await waiting) == [1]
        assert hub.counts["subscriptions"] == 0

    on_a_hub(test)


def test_a_worker_that_waits_gets_what_another_gives_back() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 1, ordered=True)
        taken = await consumer.receive()
        before = backend.calls["get_record"]
        waiting = asyncio.ensure_future(consumer.receive(wait_s=60))
        await until(lambda: backend.calls["get_record"] > before)
        await consumer.release(taken.lease or "")
        assert seqs(await waiting) == [1]

    on_a_hub(test)


def test_a_worker_that_waits_in_vain_gets_nothing_and_asks_the_store_seldom() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 3, ordered=True)
        await consumer.receive(limit=1)
        before = backend.calls["get_record"]
        assert await consumer.receive(wait_s=0.2) == await consumer.receive()
        assert backend.calls["get_record"] - before <= 4  # though new messages are there, which have to wait

    on_a_hub(test)


def test_a_worker_that_waits_behind_a_delayed_message_asks_the_store_seldom() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 3, ordered=True)
        taken = await consumer.receive()
        await consumer.retry(taken.lease or "", [1], delay_s=60)
        await consumer.release(taken.lease or "")
        before = backend.calls["get_record"]
        assert (await consumer.receive(wait_s=0.2)).lease is None
        assert backend.calls["get_record"] - before <= 2

    on_a_hub(test)


def test_messages_that_come_again_far_apart_come_before_new_ones() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 60)
        taken = await consumer.receive(limit=50)
        failed = list(range(1, 50, 2))
        await consumer.retry(taken.lease or "", failed)
        await consumer.ack(taken.lease or "")
        come = [seq for _ in range(3) for seq in seqs(await consumer.receive(limit=40))]
        assert come == [*failed, *range(51, 61)]

    on_a_hub(test)


def test_messages_behind_a_full_page_wait_for_it() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        for _ in range(20):
            await hub.publish(Draft("ops", "ann", "x" * (MAX_PAGE_BYTES // 17)))
        consumer = await filled(hub, 0)
        leases = [await consumer.receive(limit=10) for _ in range(2)]
        for taken in leases:
            await consumer.release(taken.lease or "")
        await hub.publish(Draft("ops", "ann", "new"))
        come = [seqs(await consumer.receive(limit=50)) for _ in range(2)]
        assert len(come[0]) < 20
        assert come[0] + come[1] == list(range(1, 22))

    on_a_hub(test)


def test_a_worker_that_waits_gets_what_is_due_again() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 1)
        taken = await consumer.receive()
        await consumer.retry(taken.lease or "", delay_s=0.05)
        waiting = asyncio.ensure_future(consumer.receive(wait_s=60))
        await asyncio.sleep(0)
        clock.now_ms += 50
        assert seqs(await waiting) == [1]

    on_a_hub(test)


def test_only_its_owner_may_use_a_consumer() -> None:
    def check(owner: str) -> None:
        raise Forbidden(owner)

    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        lease = (await (await filled(hub, 1)).receive()).lease or ""
        consumer = hub.consumers.consumer("ops", "indexer", check=check)
        calls: list[Coroutine[Any, Any, object]] = [
            consumer.receive(),
            consumer.ack(lease),
            consumer.retry(lease),
            consumer.release(lease),
            consumer.extend(lease, 5),
            consumer.delete(),
            hub.consumers.put("ops", "indexer", owner="bob", after="end", check=check),
        ]
        for call in calls:
            with pytest.raises(Forbidden, match="ann"):
                await call
        assert (await consumer.status()).leased == 1

    on_a_hub(test)


@pytest.mark.parametrize(
    "settings",
    [{"limit": 0}, {"limit": 1001}, {"lease_s": 0.0}, {"lease_s": 1e9}, {"wait_s": -1.0}, {"wait_s": float("nan")}],
    ids=str,
)
def test_numbers_out_of_their_ranges_are_refused(settings: Any) -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 1)
        with pytest.raises(BadRequest, match=next(iter(settings))):
            await consumer.receive(**settings)

    on_a_hub(test)


def test_names_that_cannot_be_are_refused() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        for name in ("", "a/b", ".a", "x" * 65):
            with pytest.raises(BadRequest, match="the name of a consumer"):
                await hub.consumers.put("ops", name, owner="ann")
        with pytest.raises(BadRequest, match="at most 57 characters"):
            await hub.consumers.put("x" * 58, "c", owner="ann")
        with pytest.raises(BadRequest, match="retries"):
            await hub.consumers.put("ops", "c", owner="ann", retries=-1)

    on_a_hub(test)


def test_a_consumer_can_be_moved_and_keeps_its_settings() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 5, retries=2, ordered=True)
        await consumer.receive(limit=5)
        head = (await hub.history("ops")).head
        status, is_new = await hub.consumers.put("ops", "indexer", owner="bob", after=Cursor(head.epoch, 3))
        assert (is_new, status.owner, status.leased, status.lag) == (False, "ann", 0, 2)
        assert (status.retries, status.ordered) == (2, True)
        assert seqs(await consumer.receive()) == [4, 5]

    on_a_hub(test)


def test_a_position_behind_the_end_is_refused() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        await filled(hub, 3)
        head = (await hub.history("ops")).head
        with pytest.raises(BadRequest, match="whose last message is 3"):
            await hub.consumers.put("ops", "indexer", owner="ann", after=Cursor(head.epoch, 4))

    on_a_hub(test)


def test_a_position_in_another_log_is_a_gap() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 3)
        await hub.consumers.put("ops", "indexer", owner="ann", after=Cursor("zzzz", 9))
        taken = await consumer.receive()
        assert (taken.gap, seqs(taken)) == (Gap(9, 1, "epoch"), [1, 2, 3])

    on_a_hub(test)


def test_a_gap_among_messages_that_come_again_is_found() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 9)
        lease = (await consumer.receive()).lease or ""
        await consumer.ack(lease, [1, 3, 5, 8])
        await consumer.retry(lease)
        await hub.trim("ops", keep=3)
        taken = await consumer.receive()
        assert (taken.gap, seqs(taken)) == (Gap(1, 7, "trimmed"), [7, 9])
        assert (await consumer.ack(taken.lease or "")).lag == 0

    on_a_hub(test)


def test_messages_that_stand_far_apart_come_again_in_several_takes() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 60)
        lease = (await consumer.receive(limit=60)).lease or ""
        await consumer.ack(lease, range(2, 61, 2))
        await consumer.release(lease)
        before = backend.calls["read"]
        first = await consumer.receive(limit=60)
        assert backend.calls["read"] - before <= 20
        assert seqs(first) + seqs(await consumer.receive(limit=60)) == list(range(1, 61, 2))

    on_a_hub(test)


def test_a_renamed_room_takes_its_consumers_along() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        lease = (await (await filled(hub, 2)).receive()).lease or ""
        await hub.moderation.rename_room(ADMIN, "ops", "dev")
        assert [status.room for status in await hub.consumers.statuses()] == ["dev"]
        assert (await hub.consumers.consumer("dev", "indexer").ack(lease)).lag == 0

    on_a_hub(test)


def test_a_renamed_rooms_consumers_replace_those_of_a_deleted_room_and_lose_no_acknowledgement() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        await hub.publish(Draft("dev", "ann", "old"))
        await hub.consumers.put("dev", "indexer", owner="ann", after="end")
        await hub.moderation.delete_room(ADMIN, "dev")
        consumer = await filled(hub, 3)
        first = (await consumer.receive(limit=1)).lease or ""
        put_record = backend.put_record

        async def put_after_an_acknowledgement(*args: Any, **kwargs: Any) -> Record:
            backend.put_record = put_record  # type: ignore[method-assign]  # once
            await consumer.ack(first)
            return await put_record(*args, **kwargs)

        backend.put_record = put_after_an_acknowledgement  # type: ignore[method-assign]
        await move_consumers(backend, "ops", "dev")
        assert [(status.room, status.cursor.seq) for status in await hub.consumers.statuses()] == [("dev", 1)]

    on_a_hub(test)


def test_dead_letters_are_reported_before_they_are_settled_and_once() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 1, retries=0)
        lease = (await consumer.receive()).lease or ""
        backend.failures["put_record"] = Unavailable("gone")
        with pytest.raises(Unavailable):
            await consumer.retry(lease, reason="no")
        del backend.failures["put_record"]
        assert (await consumer.retry(lease, reason="still no")).failed == 1
        page = await hub.history("ops.failed")
        assert [message.body for message in page.messages] == ["indexer failed once at message 1 of ops: no"]

    on_a_hub(test)


def test_workers_that_conflict_try_again() -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        consumer = await filled(hub, 20)
        async with Hub(backend, now_ms=clock) as hub_of_another_process:
            other = hub_of_another_process.consumers.consumer("ops", "indexer")
            backend.turns = 3
            both = await asyncio.gather(*(each.receive(limit=2) for each in (consumer, other) * 5))
        assert sorted(seq for taken in both for seq in seqs(taken)) == list(range(1, 21))

    on_a_hub(test)


@pytest.mark.parametrize("value", [b"{}", b"garbage", b'{"owner":"\xff"}', b'{"more":' + b"[" * 5_000])
def test_a_record_that_is_not_a_consumer_is_an_error(value: bytes) -> None:
    async def test(hub: Hub, backend: Faults, clock: Clock) -> None:
        await backend.put_record(CONSUMER, "ops/c", value, expected_version=0)
        with pytest.raises(StoreError, match="'ops/c' cannot be read"):
            await hub.consumers.consumer("ops", "c").receive()

    on_a_hub(test)
