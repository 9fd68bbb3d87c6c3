"""Redis killed, paused, flushed and cut off: no message is lost, and notifications continue."""

import asyncio
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import stores
from harness import turns
from redis_retries import append_until_taken, follow, impatient, in_thread, is_a

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, texts, until
from chatkit.backends.redis import RedisBackend, listener
from chatkit.backends.redis.codec import RoomPosition
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Backend, Disconnected, MessageRedacted, Reconnected, RoomAdvanced
from chatkit.errors import Unavailable

__all__ = ["impatient"]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server for one test, which may change it in any way."""
    with RedisServer() as own:
        yield own


@pytest.mark.usefixtures("impatient")
def test_a_killed_and_restarted_server_loses_nothing_and_notifies_again(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            await two.append(drafts_in("a", 1, 2))
            notifications = one.notifications()
            await in_thread(server.kill)
            await until(notifications, is_a(Disconnected))
            with pytest.raises(Unavailable):
                await two.append(drafts_in("a", "refused"))
            with pytest.raises(Unavailable):
                await one.watch("b")
            await in_thread(server.start)
            await append_until_taken(two, "a", "3")
            assert (await until(notifications, is_a(Reconnected)))[-1] == Reconnected()
            await append_until_taken(two, "a", "4")
            await until(notifications, lambda item: isinstance(item, RoomAdvanced) and item.last == 4)
            assert await texts(one, "a") == ["1", "2", "3", "4"]

    asyncio.run(go())


@pytest.mark.usefixtures("impatient")
def test_a_paused_server_is_detected_and_calls_fail_until_it_continues(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            notifications = one.notifications()
            server.pause()
            try:
                disconnected = (await until(notifications, is_a(Disconnected)))[-1]
                with pytest.raises(Unavailable):
                    await two.append(drafts_in("b", 1))
            finally:
                server.resume()
            assert isinstance(disconnected, Disconnected)
            assert "has not answered" in disconnected.reason
            await append_until_taken(two, "a", "k")
            seen = await until(notifications, is_a(Reconnected))
            if not any(isinstance(item, RoomAdvanced) for item in seen):
                await until(notifications, is_a(RoomAdvanced))
            assert await texts(one, "a") == ["k"]

    asyncio.run(go())


def test_nothing_is_lost_while_connections_are_cut(server: RedisServer) -> None:
    async def cut() -> None:
        for kind in ("pubsub", "normal") * 6:
            await in_thread(partial(server.ask, "CLIENT", "KILL", "TYPE", kind))

    async def publish(backend: Backend) -> None:
        for n in range(400):
            await append_until_taken(backend, "a", str(n))

    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            following = asyncio.ensure_future(follow(one, "a", 400))
            await asyncio.gather(publish(two), cut())
            async with asyncio.timeout(60):
                assert await following == [str(n) for n in range(400)]

    asyncio.run(go())


def test_the_next_append_after_a_flush_starts_a_new_epoch(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            before = (await two.append(drafts_in("a", *range(5))))[-1].message
            await in_thread(lambda: server.ask("FLUSHALL"))
            after = (await two.append(drafts_in("a", "again")))[0].message
            assert (before.seq, after.seq) == (5, 1)
            assert after.epoch != before.epoch
            await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.epoch == after.epoch)
            assert await texts(one, "a") == ["again"]

    asyncio.run(go())


def test_a_flushed_store_is_detected_in_an_idle_room(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "CHECK_S", 0.1)

    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.watch("a")
            (receipt,) = await backend.append(drafts_in("a", 1))
            await in_thread(lambda: server.ask("FLUSHALL"))
            # A check during the append may report its message first.
            (*_, advanced) = await until(backend.notifications(), lambda item: getattr(item, "last", None) == 0)
            assert isinstance(advanced, RoomAdvanced)
            assert advanced.epoch not in {"", receipt.message.epoch}

    asyncio.run(go())


@pytest.mark.usefixtures("impatient")
def test_a_store_that_lost_its_newest_messages_gets_a_new_epoch(server: RedisServer, tmp_path: Path) -> None:
    """A reader of the lost message 3 must not get another message 3 of the same epoch."""

    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            old = (await two.append(drafts_in("a", 1, 2)))[0].message.epoch
            notifications = one.notifications()
            await in_thread(lambda: shutil.copytree(server.folder, tmp_path / "old"))
            await two.append(drafts_in("a", "lost", "lost, too"))
            await until(notifications, lambda item: isinstance(item, RoomAdvanced) and item.last == 4)
            await in_thread(server.kill)
            await in_thread(lambda: shutil.rmtree(server.folder / "appendonlydir"))
            await in_thread(lambda: shutil.copytree(tmp_path / "old/appendonlydir", server.folder / "appendonlydir"))
            await in_thread(server.start)
            seen = await until(notifications, is_a(Reconnected))
            (advanced,) = [item for item in seen if isinstance(item, RoomAdvanced)]
            assert advanced.last == 2
            assert advanced.epoch != old
            receipt = await append_until_taken(two, "a", "another 3")
            assert (receipt.message.epoch, receipt.message.seq) == (advanced.epoch, 3)
            assert await texts(one, "a") == ["1", "2", "another 3"]

    asyncio.run(go())


def test_an_append_starts_a_new_epoch_if_seen_messages_are_missing() -> None:
    url = stores.redis()

    async def go() -> None:
        async with open_backend(url) as backend:
            assert isinstance(backend, RedisBackend)
            await backend.watch("a")
            epoch = (await backend.append(drafts_in("a", 1, 2)))[0].message.epoch
            backend._listener.advance("a", RoomPosition(epoch, 4))  # before the store lost its newest messages
            (receipt,) = await backend.append(drafts_in("a", 3))
            assert receipt.message.seq == 3
            assert receipt.message.epoch != epoch

    asyncio.run(go())


def test_a_partly_evicted_room_gets_a_new_epoch(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            (old,) = await backend.append(drafts_in("a", 1))
            await in_thread(lambda: server.ask("DEL", "chatkit:{a}:log"))
            page = await backend.read("a")
            assert page.head.epoch != old.message.epoch
            assert (page.head.first, page.head.last) == (2, 1)
            assert (await backend.append(drafts_in("a", 2)))[0].message.seq == 2

    asyncio.run(go())


def test_scripts_unknown_to_the_server_are_sent_again(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            for n in range(3):
                await backend.append(drafts_in("a", n))
                await backend.watch(f"room{n}")
                await backend.redact("a", n + 1)
                await in_thread(lambda: server.ask("SCRIPT", "FLUSH"))
            assert len(await texts(backend, "a")) == 3
            await in_thread(lambda: server.ask("SCRIPT", "FLUSH"))
            assert await backend.trim(keep=1) == 2

    asyncio.run(go())


def test_a_cut_idle_connection_is_replaced(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            assert isinstance(backend, RedisBackend)
            for n in range(3):
                await backend.append(drafts_in("a", n))
                connections = list(backend._router._connections.values())
                await in_thread(lambda: server.ask("CLIENT", "KILL", "TYPE", "normal"))
                async with asyncio.timeout(30):
                    while not all(each.fault for each in connections):  # noqa: ASYNC110 - until the cut is noticed
                        await asyncio.sleep(0.001)
            assert await texts(backend, "a") == ["0", "1", "2"]

    asyncio.run(go())


def test_a_cancelled_append_is_still_notified(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.watch("a")
            await backend.append(drafts_in("a", 1))
            server.pause()
            try:
                append = asyncio.ensure_future(backend.append(drafts_in("a", 2)))
                await turns()
                append.cancel()
                await asyncio.gather(append, return_exceptions=True)
            finally:
                server.resume()
            assert append.cancelled()
            await until(backend.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.last == 2)

    asyncio.run(go())


def test_redactions_during_a_lost_connection_are_reported_after_the_reconnect() -> None:
    url = stores.redis()

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            assert isinstance(one, RedisBackend)
            await two.append(drafts_in("a", 1, 2, 3))
            await two.redact("a", 1)
            await one.watch("a")
            await one._listener.pubsub.close()
            await two.redact("a", 2)
            one._listener._on_lost(Unavailable("the test says so"))
            seen = await until(one.notifications(), is_a(Reconnected))
            assert MessageRedacted("a", 2) in seen
            await two.redact("a", 3)
            assert await until(one.notifications(), is_a(MessageRedacted)) == [MessageRedacted("a", 3)]

    asyncio.run(go())
