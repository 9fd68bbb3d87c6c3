"""Redis: entries of older versions, deleted rooms, and loaded messages."""

import asyncio
from collections.abc import Iterator

import pytest
import stores
from redis_retries import in_thread

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, until
from chatkit.backends.redis.codec import KeyNames
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Notification, RoomAdvanced
from chatkit.core.model import Draft, Message
from chatkit.errors import BadRequest, KeyConflict, StoreError

META, LOG, KEYS, GONE = (key.decode() for key in KeyNames("chatkit:", 0).of("a")[:4])


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """A server for the tests of this module, each of which finds it empty."""
    with RedisServer(stores.UNSYNCED) as own:
        yield own


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    shared_server.ask("FLUSHALL")
    return shared_server


def make_old_room(server: RedisServer) -> None:
    """Make a room of two messages, the second of which was redacted, as older versions stored it."""
    server.ask("HSET", META, "epoch", "oldepoch", "last", "2", "time", "5", "redacted", "1", "scrubbed", "1")
    server.ask("XADD", LOG, "1-0", "t", "5", "m", '["ann","one",{"n":1},"k"]')
    server.ask("ZADD", KEYS, "1", "k")
    server.ask("ZADD", GONE, "2", '[2,5,"bob",null]')


def is_restart(item: Notification, epoch: str) -> bool:
    return isinstance(item, RoomAdvanced) and (item.last, item.epoch) == (0, epoch)


def test_entries_and_tombstones_of_an_older_version_are_read(server: RedisServer) -> None:
    make_old_room(server)
    old = [
        Message("a", "oldepoch", 1, 5, "ann", "one", {"n": 1}, "k"),
        Message("a", "oldepoch", 2, 5, "bob", "", redacted=True),
    ]

    async def go() -> None:
        async with open_backend(server.url) as backend:
            assert list((await backend.read("a")).messages) == old
            (repeat, new) = await backend.append([Draft("a", "ann", "1", key="k"), Draft("a", "bob", "3", bot=True)])
            assert (repeat.message, repeat.conflict) == (old[0], True)
            assert list((await backend.read("a")).messages) == [*old, new.message]

    asyncio.run(go())


def test_a_message_without_flags_takes_no_more_space(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append([Draft("a", "ann", "1"), Draft("a", "ann", "2", verified=True, bot=True)])
            entries = server.ask("XRANGE", LOG, "-", "+").split()
            assert [entry for entry in entries if entry[0] == "["] == [
                '["ann","1",null,null]',
                '["ann","2",null,null,3]',
            ]

    asyncio.run(go())


def test_a_key_that_an_older_version_stored_is_in_use_when_messages_are_loaded(server: RedisServer) -> None:
    make_old_room(server)
    loaded = Message("a", "elsewhere", 3, 6, "bob", "three", key="k")

    async def go() -> None:
        async with open_backend(server.url) as backend:
            with pytest.raises(KeyConflict):
                await backend.load([Message("a", "elsewhere", 3, 6, "ann", "three", key="k")])
            assert await backend.load([loaded]) == 1
            (repeat,) = await backend.append([Draft("a", "bob", "three", key="k")])
            assert (repeat.repeat, repeat.message.seq) == (True, 3)

    asyncio.run(go())


def test_what_remains_of_a_deleted_room_expires(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append([Draft("a", "ann", "1", key="k"), *drafts_in("a", 2)])
            await backend.redact("a", 2)
            assert await backend.delete_room("a")
            assert server.ask("KEYS", "*").split() == [META]
            assert 0 < int(server.ask("TTL", META)) <= 86_400
            await backend.append(drafts_in("a", 1))
            assert server.ask("TTL", META) == "-1"

    asyncio.run(go())


def test_a_deletion_or_load_without_rights_changes_nothing(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as owner:
            (receipt,) = await owner.append([Draft("a", "ann", "1", key="k")])
            messages = [Message("a", "", 2, 6, "ann", "2", key="l"), Message("a", "", 3, 6, "ann", "", redacted=True)]
            for right in ("-hset", "-spublish", "-unlink", "-zadd", "-xadd"):
                server.ask("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "&*", "+@all", right)
                async with open_backend(server.url.replace("//", "//bob:pw@")) as backend:
                    if right not in {"-zadd", "-xadd"}:
                        with pytest.raises(StoreError):
                            await backend.delete_room("a")
                    if right != "-unlink":
                        with pytest.raises(StoreError):
                            await backend.load(messages)
            assert list((await owner.read("a")).messages) == [receipt.message]
            assert await owner.load(messages) == 2

    asyncio.run(go())


def test_a_deletion_while_a_process_is_disconnected_is_notified_afterwards(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            (old,) = await two.append(drafts_in("a", 1))
            await one.watch("a")
            await asyncio.gather(
                in_thread(lambda: server.ask("CLIENT", "KILL", "TYPE", "pubsub")), two.delete_room("a")
            )
            epoch = (await two.read("a")).head.epoch
            assert epoch != old.message.epoch
            await until(one.notifications(), lambda item: is_restart(item, epoch))

    asyncio.run(go())


def test_without_history_a_room_is_deleted_and_nothing_is_loaded(server: RedisServer) -> None:
    url = server.url.replace("redis://", "redis+pubsub://")

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            (old,) = await one.append(drafts_in("a", 1))
            await two.watch("a")
            with pytest.raises(BadRequest):
                await one.load([Message("a", "", 2, 6, "ann", "2")])
            assert await one.delete_room("a")
            assert not await one.delete_room("a")
            (new,) = await one.append([Draft("a", "ann", "1", verified=True)])
            assert (new.message.seq, new.message.epoch == old.message.epoch) == (1, False)
            (*_, last) = await until(two.notifications(), lambda item: getattr(item, "last", 0) == 1)
            assert isinstance(last, RoomAdvanced)
            assert list(last.messages) == [new.message]

    asyncio.run(go())
