"""Redis without history: connected readers receive everything, because nothing can be read later."""

import asyncio
from functools import partial

import pytest
import stores

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, until
from chatkit.backends.redis import RedisBackend
from chatkit.core.backend import Notification, RoomAdvanced
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Gap
from chatkit.core.subscription import Item, Subscription

BODY = "x" * 65_000  # about the largest allowed


@pytest.fixture
def url() -> str:
    return stores.redis().replace("redis://", "redis+pubsub://")


async def read_up_to(subscription: Subscription, last: int) -> list[Item]:
    """Read until a seq was read, or reported as missing."""
    items: list[Item] = []
    async with asyncio.timeout(30):
        async for item in subscription:
            items.append(item)
            if (item.before - 1 if isinstance(item, Gap) else item.seq) >= last:
                break
    return items


def numbers(items: list[Item]) -> list[int | Gap]:
    return [item if isinstance(item, Gap) else item.seq for item in items]


def reaches(last: int, item: Notification) -> bool:
    return isinstance(item, RoomAdvanced) and item.last >= last


def test_two_servers_with_concurrent_senders_receive_everything_in_order(url: str) -> None:
    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two, Hub(one) as here, Hub(two) as there:

            async def talk(hub: Hub) -> None:
                for n in range(100):
                    await hub.publish(Draft("a", "ann", str(n)))

            reading = [
                asyncio.ensure_future(read_up_to(await hub.subscribe("a"), 200)) for hub in (here, there, here, there)
            ]
            await asyncio.gather(talk(here), talk(there))
            for received in await asyncio.gather(*reading):
                assert numbers(received) == list(range(1, 201))

    asyncio.run(go())


def test_a_reader_that_joins_during_publishing_receives_everything_from_then_on(url: str) -> None:
    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two, Hub(one) as here, Hub(two) as there:

            async def talk() -> None:
                while True:
                    await here.publish(Draft("a", "ann", "hi"))

            talking = asyncio.ensure_future(talk())
            for _ in range(300):
                with await there.subscribe("a") as subscription:
                    began = subscription.position
                    assert numbers(await read_up_to(subscription, began + 3)) == [began + n for n in (1, 2, 3)]
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)

    asyncio.run(go())


def test_a_batch_too_large_for_one_publication_is_published_in_parts(url: str) -> None:
    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            await one.watch("a")
            await two.append(drafts_in("a", *[BODY] * 40, "short"))
            notifications = await until(one.notifications(), partial(reaches, 41))
            messages = [
                message for item in notifications if isinstance(item, RoomAdvanced) for message in item.messages
            ]
            assert [message.seq for message in messages] == list(range(1, 42))
            assert [message.body for message in messages] == [BODY] * 40 + ["short"]

    asyncio.run(go())


def test_thousands_of_messages_published_at_once_all_arrive(url: str) -> None:
    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            assert isinstance(one, RedisBackend)
            await one.watch("a")
            for _ in range(3):
                await two.append(drafts_in("a", *range(1_000)))
            await one._listener.wait_received(["a"])  # no notification has been read yet
            notifications = await until(one.notifications(), partial(reaches, 3_000))
            assert sum(len(item.messages) for item in notifications if isinstance(item, RoomAdvanced)) == 3_000

    asyncio.run(go())


def test_a_reader_that_resumes_from_a_server_that_was_ahead_gets_no_repeat(url: str) -> None:
    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two, Hub(one) as here, Hub(two) as there:
            assert isinstance(two, RedisBackend)
            lagging = await there.subscribe("a")
            await here.publish(Draft("a", "ann", "1"))
            await read_up_to(lagging, 1)
            late: list[tuple[str, bytes]] = []
            on_message = two._listener._on_message
            two._listener.pubsub._on_message = lambda room, payload: late.append((room, payload))
            had = [await here.publish(Draft("a", "ann", text)) for text in ("2", "3")][-1].message.cursor
            with await there.subscribe("a", after=had) as subscription:
                await two._listener.wait_received(["a"])
                two._listener.pubsub._on_message = on_message
                for room, payload in late:
                    on_message(room, payload)
                await here.publish(Draft("a", "ann", "4"))
                assert numbers(await read_up_to(subscription, 4)) == [4]
            assert numbers(await read_up_to(lagging, 4)) == [2, 3, 4]

    asyncio.run(go())


def test_an_impossible_cursor_is_answered_with_a_gap(url: str) -> None:
    async def go() -> None:
        async with open_backend(url) as backend, Hub(backend) as hub:
            (known,) = await backend.append(drafts_in("a", 1))
            made_up = type(known.message.cursor)(known.message.epoch, 1_000)
            with await hub.subscribe("a", after=made_up) as subscription:
                assert isinstance(subscription.read_nowait()[0], Gap)
                await hub.publish(Draft("a", "ann", "2"))
                assert numbers(await read_up_to(subscription, 2)) == [2]

    asyncio.run(go())


def test_readers_receive_thousands_of_messages_that_arrived_at_once(url: str) -> None:
    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two, Hub(one) as hub:
            subscription = await hub.subscribe("a")
            receipts = [receipt for _ in range(3) for receipt in await two.append(drafts_in("a", *range(1_000)))]
            reading = asyncio.ensure_future(read_up_to(subscription, 3_000))
            hub._rooms.grow("a", 3_000, [receipt.message for receipt in receipts])
            assert numbers(await reading) == list(range(1, 3_001))

    asyncio.run(go())
