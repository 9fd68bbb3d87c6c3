"""Conformance: consumers, which are records, and the log that they read."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio
from collections import Counter

from chatkit.backends.conformance.suite import Factory, case, check, drafts_in, expect, numbers_of, shared_case
from chatkit.core.consumer import Consumer
from chatkit.core.hub import Hub
from chatkit.core.model import Gap, Message
from chatkit.errors import BadRequest, LeaseExpired, NotFound

LEASE_S = 60.0  # far longer than a case: a lease runs out only where the case moves the clock


class Clock:
    """The clock of a hub, which a case moves."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        """Return the time, as Unix milliseconds."""
        return self.now_ms


@case
async def a_consumer_takes_the_log_in_order_and_keeps_its_place(factory: Factory) -> None:
    async with factory() as backend, Hub(backend) as hub:
        if not backend.keeps_history:
            await is_refused(hub)
            return
        await backend.append(drafts_in("a", *range(5)))
        status, is_new = await hub.consumers.put("a", "c", owner="ann", after="start")
        expect((is_new, status.lag, status.cursor.seq), (True, 5, 0), "the new consumer")
        consumer = hub.consumers.consumer("a", "c")
        first = await consumer.receive(limit=3, lease_s=LEASE_S)
        expect(numbers_of(first.messages), [1, 2, 3], "the first messages")
        expect(numbers_of((await consumer.receive(lease_s=LEASE_S)).messages), [4, 5], "the next messages")
        expect((await consumer.receive()).lease, None, "the lease of nothing")
        status = await consumer.ack(first.lease or "")
        expect((status.cursor.seq, status.lag, status.leased), (3, 2, 2), "the status after the acknowledgement")
        status, is_new = await hub.consumers.put("a", "c", owner="ann", after="start", only_if_missing=True)
        expect((is_new, status.cursor.seq), (False, 3), "a consumer that was there keeps its place")
        await backend.append(drafts_in("a", 6))
        expect(numbers_of((await consumer.receive()).messages), [6], "a message that was appended later")


@case
async def what_fails_comes_again_and_is_reported_once_at_last(factory: Factory) -> None:
    clock = Clock()
    async with factory() as backend, Hub(backend, now_ms=clock) as hub:
        if not backend.keeps_history:
            return
        await backend.append(drafts_in("a", *range(3)))
        await hub.consumers.put("a", "c", owner="ann", after="start", retries=1)
        consumer = hub.consumers.consumer("a", "c")
        taken = await consumer.receive(limit=2, lease_s=LEASE_S)
        clock.now_ms += 2 * round(LEASE_S * 1000)
        try:
            await consumer.ack(taken.lease or "")
        except LeaseExpired:
            pass
        else:
            raise AssertionError("a lease that has run out settles nothing")
        again = await consumer.receive(limit=2, lease_s=LEASE_S)
        expect(numbers_of(again.messages), [1, 2], "the messages of the lease that ran out")
        await consumer.ack(again.lease or "", [2])
        status = await consumer.retry(again.lease or "", reason="no")
        expect((status.cursor.seq, status.failed, status.lag), (2, 1, 1), "the status after the last failure")
        page = await backend.read("a.failed")
        expect(
            [message.data for message in page.messages],
            [{"consumer": "c", "seq": 1, "reason": "no", "tries": 2}],
            "the dead letters",
        )
        expect(numbers_of((await consumer.receive()).messages), [3], "the message after it")


@case
async def a_gap_reaches_a_consumer_until_it_is_acknowledged(factory: Factory) -> None:
    async with factory() as backend, Hub(backend) as hub:
        if not backend.keeps_history:
            return
        await backend.append(drafts_in("a", *range(6)))
        await hub.consumers.put("a", "c", owner="ann", after="start")
        consumer = hub.consumers.consumer("a", "c")
        await hub.trim("a", keep=2)
        for _ in range(2):
            taken = await consumer.receive(lease_s=LEASE_S)
            expect((taken.gap, numbers_of(taken.messages)), (Gap(0, 5, "trimmed"), [5, 6]), "what was taken")
            await consumer.release(taken.lease or "")
        taken = await consumer.receive(lease_s=LEASE_S)
        await consumer.ack(taken.lease or "")
        await hub.delete_room("a")
        await backend.append(drafts_in("a", 1))
        taken = await consumer.receive(lease_s=LEASE_S)
        expect((taken.gap, numbers_of(taken.messages)), (Gap(6, 1, "epoch"), [1]), "what was taken of the new log")
        status = await consumer.ack(taken.lease or "")
        expect((status.cursor.seq, status.lag), (1, 0), "the status in the new log")


@case
async def a_deleted_consumer_is_gone(factory: Factory) -> None:
    async with factory() as backend, Hub(backend) as hub:
        if not backend.keeps_history:
            return
        await hub.consumers.put("a", "c", owner="ann")
        await hub.consumers.put("a2", "c", owner="ann")
        await hub.consumers.consumer("a", "c").delete()
        expect([status.room for status in await hub.consumers.statuses()], ["a2"], "the consumers")
        for call in (hub.consumers.consumer("a", "c").receive, hub.consumers.consumer("a", "c").delete):
            try:
                await call()
            except NotFound:
                continue
            raise AssertionError("a deleted consumer is not found")
        _, is_new = await hub.consumers.put("a", "c", owner="bob")
        check(is_new, "the name can be used again")


@shared_case
async def workers_of_several_processes_share_a_consumer(factory: Factory) -> None:
    async with factory() as first, factory() as second, Hub(first) as one, Hub(second) as other:
        if not first.keeps_history:
            return
        await first.append(drafts_in("a", *range(120)))
        await one.consumers.put("a", "c", owner="ann", after="start")
        seen: Counter[int] = Counter()

        async def work(consumer: Consumer) -> None:
            while (taken := await consumer.receive(limit=7, lease_s=LEASE_S)).messages:
                seen.update(numbers_of(taken.messages))
                await consumer.ack(taken.lease or "")

        await asyncio.gather(*(work(hub.consumers.consumer("a", "c")) for hub in (one, other, one, other)))
        expect(seen, Counter(range(1, 121)), "how often each message was taken")
        status = await other.consumers.consumer("a", "c").status()
        expect((status.cursor.seq, status.lag), (120, 0), "the status at the end")


@shared_case
async def a_worker_that_waits_hears_of_messages_of_other_processes(factory: Factory) -> None:
    async with factory() as first, factory() as second, Hub(first) as hub:
        if not first.keeps_history:
            return
        await hub.consumers.put("a", "c", owner="ann")
        waiting = asyncio.ensure_future(hub.consumers.consumer("a", "c").receive(wait_s=30))
        await asyncio.sleep(0.05)  # either way, the message has to arrive
        await second.append(drafts_in("a", "hi"))
        messages: list[Message] = list((await waiting).messages)
        expect([message.body for message in messages], ["hi"], "what was taken")


async def is_refused(hub: Hub) -> None:
    try:
        await hub.consumers.put("a", "c", owner="ann")
    except BadRequest:
        return
    raise AssertionError("a store without history has no consumers")
