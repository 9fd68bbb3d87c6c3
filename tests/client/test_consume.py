"""The loop over a consumer: what it acknowledges, what comes again, and what it survives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest
from access_server import AccessServer, access_server, grant
from harness import eventually, run, until

from chatkit.client import Client, ConnectionLost, ConnectionRestored
from chatkit.client import consumption as module
from chatkit.client.consumer_calls import ServerConsumer
from chatkit.core.consumer import ConsumerStatus
from chatkit.core.consumer_records import CONSUMER, decode
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Gap, Message
from chatkit.errors import Forbidden, NotFound, Unavailable


class Site:
    """A server with a room `ops`, and a client of it."""

    def __init__(self, server: AccessServer, client: Client) -> None:
        self.server = server
        self.client = client
        self.hub = server.hub

    async def publish(self, count: int) -> None:
        for n in range(count):
            await self.hub.publish(Draft("ops", "ann", f"m{n + 1}"))

    async def status(self) -> ConsumerStatus:
        return await self.hub.consumers.consumer("ops", "c").status()

    async def reads(self, count: int, **options: Any) -> list[Any]:
        """Return the next messages as their numbers, and gaps as they are; the last is acknowledged."""
        found: list[Any] = []
        async with self.client.consume("ops", as_="c", **options) as messages:
            async for item in messages:
                found.append(item if isinstance(item, Gap) else item.seq)
                if len(found) == count:
                    await messages.ack()
                    break
        return found


@asynccontextmanager
async def site(**options: Any) -> AsyncIterator[Site]:
    async with access_server() as server, Client(server.url, "bot", **options) as client:
        yield Site(server, client)


def with_site(test: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with site() as made:
            await test(made)

    run(main())


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_S", "RECONNECT_S", "MAX_RECONNECT_S"):
        monkeypatch.setattr(module, name, 0.01)


def test_each_message_is_acknowledged_when_the_next_is_asked_for() -> None:
    async def test(site: Site) -> None:
        await site.publish(3)
        cursors = []
        async for message in site.client.consume("ops", as_="c", after="start"):
            assert isinstance(message, Message)
            await asyncio.sleep(module.PROMPT_S * 2)
            cursors.append((await site.status()).cursor.seq)
            if message.seq == 3:
                break
        assert cursors == [0, 1, 2]
        await until_settled(site, cursor=2, leased=0)
        assert await site.reads(1, after="start") == [3]

    with_site(test)


async def until_settled(site: Site, *, cursor: int, leased: int) -> None:
    async def is_settled() -> bool:
        status = await site.status()
        return (status.cursor.seq, status.leased) == (cursor, leased)

    await eventually(is_settled)


async def fail(client: Client, seq: int) -> None:
    """Raise an error in the body of a loop, at a message."""
    async with client.consume("ops", as_="c", after="start", retries=0) as messages:
        async for message in messages:
            if isinstance(message, Message) and message.seq == seq:
                raise ValueError("no disk")


def test_what_was_fast_is_acknowledged_soon_while_the_next_body_works() -> None:
    async def test(site: Site) -> None:
        await site.publish(3)
        async with site.client.consume("ops", as_="c", after="start") as messages:
            async for message in messages:
                assert isinstance(message, Message)
                if message.seq == 3:
                    await until_settled(site, cursor=2, leased=1)
                    break

    with_site(test)


def test_an_error_in_the_body_is_a_failure_with_its_reason_and_the_rest_is_given_back() -> None:
    async def test(site: Site) -> None:
        await site.publish(3)
        with pytest.raises(ValueError, match="no disk"):
            await fail(site.client, 2)
        status = await site.status()
        assert (status.cursor.seq, status.failed, status.leased, status.waiting) == (2, 1, 0, 1)
        letters = (await site.hub.history("ops.failed")).messages
        assert [letter.data["reason"] for letter in letters] == ["ValueError: no disk"]
        assert await site.reads(1) == [3]

    with_site(test)


def test_an_error_that_ends_the_clients_block_is_a_failure_too() -> None:
    async def test(site: Site) -> None:
        await site.publish(1)

        async def main() -> None:
            async with Client(site.server.url, "bot") as client:
                async for _ in client.consume("ops", as_="c", after="start", retries=0):
                    raise ValueError("no disk")

        with pytest.raises(ValueError, match="no disk"):
            await main()
        assert (await site.hub.history("ops.failed")).messages[0].data["reason"] == "ValueError: no disk"

    with_site(test)


def test_a_loop_that_is_left_gives_back_and_its_message_has_failed() -> None:
    async def test(site: Site) -> None:
        await site.publish(3)
        async for _ in site.client.consume("ops", as_="c", after="start", retries=0):
            break
        await until_settled(site, cursor=1, leased=0)  # the message is a dead letter
        async with aclosing(aiter(site.client.consume("ops", as_="c"))) as messages:
            assert (await anext(messages)).seq == 2  # type: ignore[union-attr] # a message
        assert (await site.status()).failed == 2

    with_site(test)


def test_a_loop_that_is_cancelled_gives_all_back_without_a_failure() -> None:
    async def test(site: Site) -> None:
        await site.publish(3)
        begun = asyncio.Event()

        async def loop() -> None:
            async for message in site.client.consume("ops", as_="c", after="start", retries=0):
                if isinstance(message, Message) and message.seq == 2:
                    begun.set()
                    await asyncio.sleep(60)

        task = asyncio.ensure_future(loop())
        await begun.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await until_settled(site, cursor=1, leased=0)
        assert (await site.status()).failed == 0
        assert await site.reads(2) == [2, 3]

    with_site(test)


def test_a_wait_for_messages_is_cancelled_at_once_and_takes_nothing() -> None:
    async def test(site: Site) -> None:
        async def loop() -> None:
            async for _ in site.client.consume("ops", as_="c"):
                pass

        task = asyncio.ensure_future(loop())
        await until(lambda: site.hub.counts["subscriptions"])
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await until(lambda: not site.hub.counts["subscriptions"])
        await site.publish(1)
        assert (await site.status()).leased == 0

    with_site(test)


@pytest.mark.parametrize(("ordered", "expected"), [(True, [1, 2, 2, 3]), (False, [1, 2, 3, 2])])
def test_a_failure_can_be_reported_and_the_loop_goes_on(ordered: bool, expected: list[int]) -> None:
    async def test(site: Site) -> None:
        await site.publish(3)
        seen: list[int] = []
        async with site.client.consume("ops", as_="c", after="start", ordered=ordered) as messages:
            async for message in messages:
                assert isinstance(message, Message)
                seen.append(message.seq)
                if seen == [1, 2]:
                    await messages.retry("not yet", delay_s=0.05)
                if len(seen) == 4:
                    await messages.ack()
                    break
        assert seen == expected
        assert (await site.status()).lag == 0

    with_site(test)


def test_a_gap_is_yielded_and_comes_again_until_it_is_acknowledged() -> None:
    async def test(site: Site) -> None:
        await site.hub.consumers.put("ops", "c", owner="bot", after="start")
        await site.publish(5)
        await site.hub.trim("ops", keep=2)
        gap = Gap(0, 4, "trimmed")
        with suppress(ValueError):
            async with site.client.consume("ops", as_="c") as messages:
                async for item in messages:
                    assert item == gap
                    raise ValueError
        assert await site.reads(3) == [gap, 4, 5]
        await site.publish(1)
        assert await site.reads(1) == [6]

    with_site(test)


def test_changes_and_unwanted_messages_are_acknowledged_without_the_body() -> None:
    async def test(site: Site) -> None:
        await site.publish(4)
        for act, body in ((Act.EDIT, "new"), (Act.REACT, "👍")):
            await site.hub.publish(Draft("ops", "ann", body, of=1, act=act))
        await site.hub.redact("ops", 2)
        await site.publish(1)
        wanted: Any = {"where": lambda message: message.seq != 3}
        assert await site.reads(3, after="start", **wanted) == [1, 4, 7]
        assert (await site.status()).lag == 0
        await site.hub.consumers.put("ops", "c", owner="bot", after="start")
        assert (await site.reads(6, changes=True))[:6] == [1, 2, 3, 4, 5, 6]

    with_site(test)


class StoppedClock:
    """The time of the server, which passes when the test says so."""

    now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


async def lease_ends_at(site: Site, time_ms: int) -> bool:
    state = decode(await site.hub.records.get_record(CONSUMER, "ops/c"))
    return state is not None and [lease.until_ms for lease in state.leases] == [time_ms]


def test_the_lease_is_extended_while_the_body_works(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = StoppedClock()
    monkeypatch.setattr("chatkit.core.hub.steady_now_ms", lambda: clock)

    async def test(site: Site) -> None:
        await site.publish(2)
        consumer = site.hub.consumers.consumer("ops", "c")
        seen = []
        async for message in site.client.consume("ops", as_="c", after="start", lease_s=0.3):
            assert isinstance(message, Message)
            seen.append(message.seq)
            for _ in range(3 if seen == [1] else 0):  # each time, the lease would end 100 ms later
                clock.now_ms += 200
                await eventually(lambda: lease_ends_at(site, clock.now_ms + 300))
                assert (await consumer.receive()).lease is None
            if len(seen) == 2:
                break
        assert seen == [1, 2]

    with_site(test)


def test_a_loop_whose_lease_was_ended_goes_on_with_what_comes_next() -> None:
    async def test(site: Site) -> None:
        await site.publish(3)
        seen = []
        async for message in site.client.consume("ops", as_="c", after="start"):
            assert isinstance(message, Message)
            seen.append(message.seq)
            if seen == [1]:
                await site.hub.consumers.put("ops", "c", owner="bot", after="start")  # ends the lease
                await asyncio.sleep(module.PROMPT_S * 2)
            if len(seen) == 4:
                break
        assert seen == [1, 1, 2, 3]

    with_site(test)


def test_a_server_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        signals: list[type] = []
        async with site(watcher=lambda signal: signals.append(type(signal))) as made:
            await made.publish(3)
            n_failures = 0

            async def fails(*_args: Any) -> None:
                nonlocal n_failures
                n_failures += 1
                if n_failures == 3:
                    monkeypatch.undo()
                raise Unavailable("away")

            async with made.client.consume("ops", as_="c", after="start") as messages:
                async for message in messages:
                    assert isinstance(message, Message)
                    if message.seq == 1:
                        monkeypatch.setattr(ServerConsumer, "ack", fails)
                        await asyncio.sleep(module.PROMPT_S * 2)
                    if message.seq == 3:
                        await messages.ack()
                        break
            assert n_failures == 3
            assert signals == [ConnectionLost, ConnectionRestored]
            assert (await made.status()).lag == 0

    run(main())


def test_several_loops_share_the_messages_of_a_consumer() -> None:
    async def test(site: Site) -> None:
        await site.publish(40)
        seen: list[int] = []
        all_seen = asyncio.Event()

        async def loop() -> None:
            async for message in site.client.consume("ops", as_="c", after="start", ordered=False, limit=3):
                assert isinstance(message, Message)
                seen.append(message.seq)
                if len(seen) >= 40:
                    all_seen.set()
                await asyncio.sleep(module.PROMPT_S)

        loops = [asyncio.ensure_future(loop()) for _ in range(3)]
        await all_seen.wait()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        assert sorted(seen) == list(range(1, 41))

    with_site(test)


def test_a_slow_body_holds_up_no_message_that_another_loop_could_begin() -> None:
    async def test(site: Site) -> None:
        await site.publish(8)
        begun: list[int] = []
        async with site.client.consume("ops", as_="c", after="start", ordered=False) as messages:
            async for message in messages:
                assert isinstance(message, Message)
                begun.append(message.seq)
                if message.seq == 4:  # the leases had 1, 2 and 4 messages
                    await until_settled(site, cursor=3, leased=1)
                    break
        assert begun == [1, 2, 3, 4]

    with_site(test)


def test_refusals_are_raised() -> None:
    async def main() -> None:
        async with access_server(host="localhost", secret="not-used-here") as server:
            ann = await server.token("ann", grant("ops", "read"))
            await server.hub.consumers.put("ops", "c", owner="root")
            async with Client(server.url, token=ann.secret) as client:
                for room, error in (("ops", Forbidden), ("dev", NotFound)):
                    with pytest.raises(error):
                        await anext(aiter(client.consume(room, as_="c")))
                loop = asyncio.ensure_future(anext(aiter(client.consume("ops", as_="mine"))))
                await until(lambda: server.hub.counts["subscriptions"])
                await server.hub.consumers.consumer("ops", "mine").delete()
                with pytest.raises(NotFound):
                    await loop

    run(main())
