"""Redis that rejects commands: a user with few rights, a key of another type, a full store."""

import asyncio
from collections.abc import Iterator

import pytest
import stores
from redis_retries import calls_of, in_thread, is_a

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, keyed_drafts, texts, until
from chatkit.backends.redis import RedisBackend
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Disconnected, PresenceChange, Reconnected
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Member, Receipt
from chatkit.core.subscription import Subscription
from chatkit.errors import ChatkitError, StoreError, Unavailable


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server for one test, which may change it in any way."""
    with RedisServer(stores.UNSYNCED) as own:
        yield own


def url_of(server: RedisServer, *rights: str) -> str:
    """Return the URL of a user without some rights."""
    server.ask("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "&*", "+@all", *rights)
    return server.url.replace("//", "//bob:pw@")


# A user with few rights


@pytest.mark.parametrize("missing", ["resetchannels", "-xadd", "-zadd", "-hset", "-persist", "-spublish"])
def test_an_append_without_rights_is_rejected_and_stored_messages_stay(server: RedisServer, missing: str) -> None:
    async def go() -> None:
        async with open_backend(server.url) as owner, open_backend(url_of(server, missing)) as backend:
            (before,) = await owner.append(drafts_in("a", "before"))
            with pytest.raises(StoreError):
                await backend.append(keyed_drafts("a", "refused"))
            page = await backend.read("a")
            assert (page.head.epoch, page.head.last) == (before.message.epoch, 1)
            assert await texts(owner, "a") == ["before"]
            (after,) = await owner.append(drafts_in("a", "after"))
            assert (after.message.epoch, after.message.seq) == (before.message.epoch, 2)

    asyncio.run(go())


@pytest.mark.parametrize("missing", ["-xdel", "-zadd", "-hincrby", "-spublish"])
def test_a_redaction_without_rights_changes_nothing(server: RedisServer, missing: str) -> None:
    async def go() -> None:
        async with open_backend(server.url) as owner, open_backend(url_of(server, missing)) as backend:
            await owner.append(drafts_in("a", 1, 2))
            with pytest.raises(StoreError):
                await backend.redact("a", 1)
            assert await texts(owner, "a") == ["1", "2"]

    asyncio.run(go())


@pytest.mark.parametrize("missing", ["-rename", "-persist", "-unlink"])
def test_a_rewrite_without_rights_changes_nothing(server: RedisServer, missing: str) -> None:
    async def go() -> None:
        async with open_backend(server.url) as owner, open_backend(url_of(server, missing)) as backend:
            await owner.append(drafts_in("a", 1, 2))
            with pytest.raises(StoreError):
                await backend.redact("a", 1)
            assert await texts(owner, "a") == ["", "2"]
            await owner.redact("a", 1)

    asyncio.run(go())


@pytest.mark.parametrize("missing", ["-xtrim", "-zremrangebyscore", "-hset"])
def test_a_trim_without_rights_changes_nothing(server: RedisServer, missing: str) -> None:
    async def go() -> None:
        async with open_backend(server.url) as owner, open_backend(url_of(server, missing)) as backend:
            await owner.append(drafts_in("a", 1, 2))
            with pytest.raises(StoreError):
                await backend.trim(keep=1)
            assert await texts(owner, "a") == ["1", "2"]

    asyncio.run(go())


def test_a_user_without_the_right_to_wait_is_rejected_before_anything_is_stored(server: RedisServer) -> None:
    async def go() -> None:
        with pytest.raises(StoreError):
            async with open_backend(f"{url_of(server, '-wait')}?wait=1"):
                pass
        async with open_backend(f"{url_of(server)}?wait=1") as backend:
            await in_thread(lambda: url_of(server, "-wait"))
            with pytest.raises(ChatkitError):
                await backend.append(drafts_in("a", 1))

    asyncio.run(go())


def test_presence_changes_of_a_failed_call_are_returned_by_the_next_one(server: RedisServer) -> None:
    ann = ("a", Member("ann", 1))

    async def go() -> None:
        async with open_backend(server.url) as other, open_backend(url_of(server)) as backend:
            await backend.poll_presence("me")
            await other.announce("gone", joined=[], left=[], ttl_s=0.001)
            while await in_thread_exists(server, "chatkit:process:{gone}:life"):  # noqa: ASYNC110 - the server's clock
                await asyncio.sleep(0.001)
            await other.announce("p", joined=[ann], left=[], ttl_s=60)
            await in_thread(lambda: url_of(server, "-srem"))
            with pytest.raises(StoreError):
                await backend.poll_presence("me")
            await in_thread(lambda: url_of(server))
            assert await backend.poll_presence("me") == [PresenceChange("p", [ann], whole=True)]

    asyncio.run(go())


async def in_thread_exists(server: RedisServer, key: str) -> bool:
    return await asyncio.to_thread(server.ask, "EXISTS", key) == "1"


# A key of another type


def test_a_key_of_another_type_affects_no_other_room(server: RedisServer) -> None:
    server.ask("SET", "chatkit:{bad}:meta", "x")
    good = [f"good{n}" for n in range(5)]

    async def go() -> None:
        async with open_backend(server.url) as backend, Hub(backend) as hub:
            outcomes = await asyncio.gather(
                *(hub.publish(Draft(room, "ann", "hi")) for room in ("bad", *good)), return_exceptions=True
            )
            assert [type(outcome) for outcome in outcomes] == [StoreError, *[Receipt] * 5]
            joined = await asyncio.gather(*(hub.subscribe(room) for room in ("bad", *good)), return_exceptions=True)
            assert [type(outcome) for outcome in joined] == [StoreError, *[Subscription] * 5]

    asyncio.run(go())


def test_keys_that_are_not_rooms_affect_neither_the_list_of_rooms_nor_a_trim(server: RedisServer) -> None:
    server.ask("SET", "chatkit:{string}:meta", "x")
    server.ask("EVAL", "redis.call('HSET', 'chatkit:{\\255}:meta', 'epoch', 'x', 'last', 1)", "0")

    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append(drafts_in("a", 1, 2))
            assert [info.room for info in await backend.rooms()] == ["a"]
            assert await backend.trim(keep=1) == 1

    asyncio.run(go())


def test_a_watched_room_replaced_by_another_type_loses_no_connection(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            assert isinstance(one, RedisBackend)
            await one.watch("bad")
            await one.watch("good")
            await in_thread(lambda: server.ask("DEL", "chatkit:{bad}:meta"))
            await in_thread(lambda: server.ask("SET", "chatkit:{bad}:meta", "x"))
            notifications = one.notifications()
            await in_thread(lambda: server.ask("CLIENT", "KILL", "TYPE", "pubsub"))
            assert [type(item) for item in await until(notifications, is_a(Reconnected))][-2:] == [
                Disconnected,
                Reconnected,
            ]
            one._listener.check_soon(["bad", "good"])
            await two.append(drafts_in("good", 1))
            assert not [
                item
                for item in await until(notifications, lambda item: not isinstance(item, Reconnected))
                if is_a(Disconnected)(item)
            ]

    asyncio.run(go())


# A full store


def test_connections_are_restored_although_no_append_succeeds(server: RedisServer) -> None:
    """Each failed append causes a check, which must not make the listener open ten thousand subscriptions again."""
    rooms = [f"room{n}" for n in range(3_000)]

    async def go() -> None:
        async with open_backend(server.url) as backend:
            await asyncio.gather(*map(backend.watch, rooms))
            await in_thread(lambda: server.ask("CONFIG", "SET", "maxmemory", "1mb"))

            async def insist() -> None:
                while True:
                    with pytest.raises(Unavailable):
                        await backend.append(drafts_in(rooms[0], "refused"))
                    await asyncio.sleep(0.001)

            insisting = asyncio.ensure_future(insist())
            await in_thread(lambda: server.ask("CONFIG", "RESETSTAT"))
            await in_thread(lambda: server.ask("CLIENT", "KILL", "TYPE", "pubsub"))
            await until(backend.notifications(), is_a(Reconnected))
            assert not insisting.done()
            insisting.cancel()
            await asyncio.gather(insisting, return_exceptions=True)
            assert calls_of(server, "ssubscribe") <= 9

    asyncio.run(go())
