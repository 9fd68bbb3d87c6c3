"""Redis that is killed, paused, flushed and cut off: nothing is lost, and everything is heard again."""

import asyncio
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import stores
from harness import turns
from redis_steps import append_until_taken, follow, impatient, in_thread, is_a

from chatkit.backends import open_backend
from chatkit.backends.conformance.case import said, texts, until
from chatkit.backends.redis import RedisBackend, listener
from chatkit.backends.redis.codec import RoomPosition
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Backend, Disconnected, MessageRedacted, Reconnected, RoomAdvanced
from chatkit.errors import Unavailable

__all__ = ["impatient"]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own, to be done anything to."""
    with RedisServer() as own:
        yield own


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_killed_and_started_again_has_lost_nothing_and_is_heard_again(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            await two.append(said("a", 1, 2))
            news = one.notifications()
            await in_thread(server.kill)
            await until(news, is_a(Disconnected))
            with pytest.raises(Unavailable):
                await two.append(said("a", "refused"))
            with pytest.raises(Unavailable):
                await one.watch("b")
            await in_thread(server.start)
            await append_until_taken(two, "a", "3")
            assert (await until(news, is_a(Reconnected)))[-1] == Reconnected()
            await append_until_taken(two, "a", "4")
            await until(news, lambda item: isinstance(item, RoomAdvanced) and item.last == 4)
            assert await texts(one, "a") == ["1", "2", "3", "4"]

    asyncio.run(go())


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_paused_is_noticed_and_refuses_until_it_goes_on(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            news = one.notifications()
            server.pause()
            try:
                broken = (await until(news, is_a(Disconnected)))[-1]
                with pytest.raises(Unavailable):
                    await two.append(said("b", 1))
            finally:
                server.resume()
            assert isinstance(broken, Disconnected)
            assert "has not answered" in broken.reason
            await append_until_taken(two, "a", "k")
            seen = await until(news, is_a(Reconnected))
            if not any(isinstance(item, RoomAdvanced) for item in seen):
                await until(news, is_a(RoomAdvanced))
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


def test_a_flushed_store_is_a_new_epoch_at_the_next_append(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            before = (await two.append(said("a", *range(5))))[-1].message
            await in_thread(lambda: server.ask("FLUSHALL"))
            after = (await two.append(said("a", "anew")))[0].message
            assert (before.seq, after.seq) == (5, 1)
            assert after.epoch != before.epoch
            await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.epoch == after.epoch)
            assert await texts(one, "a") == ["anew"]

    asyncio.run(go())


def test_a_flushed_store_is_noticed_where_nobody_says_anything(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CHECK_S", 0.1)

    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.watch("a")
            (receipt,) = await backend.append(said("a", 1))
            await in_thread(lambda: server.ask("FLUSHALL"))
            grown = (await until(backend.notifications(), is_a(RoomAdvanced)))[-1]
            assert isinstance(grown, RoomAdvanced)
            assert grown.last == 0
            assert grown.epoch not in {"", receipt.message.epoch}

    asyncio.run(go())


@pytest.mark.usefixtures("impatient")
def test_a_store_that_lost_its_end_is_a_new_epoch(server: RedisServer, tmp_path: Path) -> None:
    """Nobody who read number 3 of the old end may get another number 3 for it."""

    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.watch("a")
            old = (await two.append(said("a", 1, 2)))[0].message.epoch
            news = one.notifications()
            await in_thread(lambda: shutil.copytree(server.folder, tmp_path / "old"))
            await two.append(said("a", "lost", "lost, too"))
            await until(news, lambda item: isinstance(item, RoomAdvanced) and item.last == 4)
            await in_thread(server.kill)
            await in_thread(lambda: shutil.rmtree(server.folder / "appendonlydir"))
            await in_thread(lambda: shutil.copytree(tmp_path / "old/appendonlydir", server.folder / "appendonlydir"))
            await in_thread(server.start)
            seen = await until(news, is_a(Reconnected))
            (grown,) = [item for item in seen if isinstance(item, RoomAdvanced)]
            assert grown.last == 2
            assert grown.epoch != old
            receipt = await append_until_taken(two, "a", "another 3")
            assert (receipt.message.epoch, receipt.message.seq) == (grown.epoch, 3)
            assert await texts(one, "a") == ["1", "2", "another 3"]

    asyncio.run(go())


def test_an_append_begins_a_new_life_where_more_had_been_seen_than_there_is() -> None:
    url = stores.redis()

    async def go() -> None:
        async with open_backend(url) as backend:
            assert isinstance(backend, RedisBackend)
            await backend.watch("a")
            epoch = (await backend.append(said("a", 1, 2)))[0].message.epoch
            backend._listener.advance("a", RoomPosition(epoch, 4))  # before the store lost its end
            (receipt,) = await backend.append(said("a", 3))
            assert receipt.message.seq == 3
            assert receipt.message.epoch != epoch

    asyncio.run(go())


def test_a_room_of_which_a_part_was_evicted_begins_a_new_life(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            (old,) = await backend.append(said("a", 1))
            await in_thread(lambda: server.ask("DEL", "chatkit:{a}:log"))
            page = await backend.read("a")
            assert page.head.epoch != old.message.epoch
            assert (page.head.first, page.head.last) == (2, 1)
            assert (await backend.append(said("a", 2)))[0].message.seq == 2

    asyncio.run(go())


def test_scripts_that_the_server_forgot_are_sent_again(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            for n in range(3):
                await backend.append(said("a", n))
                await backend.watch(f"room{n}")
                await backend.redact("a", n + 1)
                await in_thread(lambda: server.ask("SCRIPT", "FLUSH"))
            assert len(await texts(backend, "a")) == 3
            await in_thread(lambda: server.ask("SCRIPT", "FLUSH"))
            assert await backend.trim(keep=1) == 2

    asyncio.run(go())


def test_an_idle_connection_that_was_cut_does_no_harm(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            assert isinstance(backend, RedisBackend)
            for n in range(3):
                await backend.append(said("a", n))
                links = list(backend._router._connections.values())
                await in_thread(lambda: server.ask("CLIENT", "KILL", "TYPE", "normal"))
                async with asyncio.timeout(30):
                    while not all(link.fault for link in links):  # noqa: ASYNC110 - the cut is on its way
                        await asyncio.sleep(0.001)
            assert await texts(backend, "a") == ["0", "1", "2"]

    asyncio.run(go())


def test_an_append_whose_answer_nobody_waited_for_is_heard_all_the_same(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.watch("a")
            await backend.append(said("a", 1))
            server.pause()
            try:
                append = asyncio.ensure_future(backend.append(said("a", 2)))
                await turns()
                append.cancel()
                await asyncio.gather(append, return_exceptions=True)
            finally:
                server.resume()
            assert append.cancelled()
            await until(backend.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.last == 2)

    asyncio.run(go())


def test_what_was_redacted_while_the_link_was_broken_is_told_when_it_is_mended() -> None:
    url = stores.redis()

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            assert isinstance(one, RedisBackend)
            await two.append(said("a", 1, 2, 3))
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
