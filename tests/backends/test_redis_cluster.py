"""A Redis Cluster: rooms on several nodes, nodes that stop and restart, slots that move."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import pytest
import stores
from redis_retries import append_until_taken, impatient, in_thread, is_a

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, keyed_drafts, texts, until
from chatkit.backends.redis import Address, RedisBackend
from chatkit.backends.redis.codec import KeyNames
from chatkit.backends.redis.connection import Command
from chatkit.backends.redis.moving import RoomMove
from chatkit.backends.redis.topology import ClusterServers
from chatkit.bench.local.redis import RedisCluster
from chatkit.core.backend import Backend, Disconnected, Notification, Reconnected, RoomAdvanced
from chatkit.core.model import Member
from chatkit.errors import BadRequest, StoreError, Unavailable

__all__ = ["impatient"]

ROOMS = [f"room{n}" for n in range(60)]  # many on each node; the hash decides, the same way every time


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """A cluster for one test, which may change it in any way."""
    with RedisCluster(stores.UNSYNCED) as own:
        yield own


def slot_of(cluster: RedisCluster, room: str) -> str:
    return cluster.nodes[0].ask("CLUSTER", "KEYSLOT", KeyNames("chatkit:", 0).of(room).log.decode())


def move_slot(cluster: RedisCluster, slot: str) -> None:
    """Move a slot and its keys from its node to another, as redis-cli --cluster does."""
    ids = [node.ask("CLUSTER", "MYID") for node in cluster.nodes]
    owner = next(n for n, node in enumerate(cluster.nodes) if _has(cluster, n, slot))
    source, target = cluster.nodes[owner], cluster.nodes[owner - 1]
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[owner - 1])
    keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, "100").splitlines()
    if keys:
        source.ask("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
    for node in (target, source, *cluster.nodes):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[owner - 1])


def _has(cluster: RedisCluster, n: int, slot: str) -> bool:
    """Return whether a node serves a slot, which means that it redirects no client."""
    own_id = cluster.nodes[n].ask("CLUSTER", "MYID")
    for line in cluster.nodes[n].ask("CLUSTER", "NODES").splitlines():
        fields = line.split()
        if fields[0] == own_id:
            spans = [field.partition("-") for field in fields[8:] if not field.startswith("[")]
            return any(int(low) <= int(slot) <= int(high or low) for low, _, high in spans)
    return False


async def watch_until_taken(backend: Backend, room: str) -> None:
    while True:
        try:
            return await backend.watch(room)
        except Unavailable:  # the connections are being restored
            await asyncio.sleep(0.02)


def has_reached(room: str, last: int, item: Notification) -> bool:
    return isinstance(item, RoomAdvanced) and (item.room, item.last) == (room, last)


def test_one_batch_appends_to_rooms_on_every_node() -> None:
    url = stores.redis_cluster()

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            await asyncio.gather(*map(one.watch, ROOMS))
            receipts = await two.append([draft for n in range(3) for room in ROOMS for draft in drafts_in(room, n)])
            assert [receipt.message.seq for receipt in receipts] == [n for n in (1, 2, 3) for _ in ROOMS]
            seen: set[str] = set()
            while seen != set(ROOMS):
                (advanced,) = [
                    item
                    for item in await until(one.notifications(), is_a(RoomAdvanced))
                    if isinstance(item, RoomAdvanced)
                ]
                assert [message.body for message in advanced.messages] == ["0", "1", "2"]
                seen.add(advanced.room)
            assert [info.room for info in await one.rooms()] == sorted(ROOMS)
            assert await one.trim(keep=1) == 2 * len(ROOMS)
            await one.announce("p1", joined=[(room, Member("ann", 1)) for room in ROOMS], left=[], ttl_s=60)
            (present,) = await two.poll_presence("p2")
            assert len(present.joined) == len(ROOMS)

    asyncio.run(go())


@pytest.mark.usefixtures("impatient")
def test_rooms_of_a_killed_node_are_available_again_after_its_restart(cluster: RedisCluster) -> None:
    async def go() -> None:
        async with open_backend(cluster.url) as one, open_backend(cluster.url) as two:
            await asyncio.gather(*map(one.watch, ROOMS))
            await two.append([draft for room in ROOMS for draft in drafts_in(room, "before")])
            notifications = one.notifications()
            await in_thread(cluster.nodes[1].kill)
            await until(notifications, is_a(Disconnected))
            with pytest.raises(Unavailable):
                await two.append([draft for room in ROOMS for draft in drafts_in(f"{room}x", 1)])
            await in_thread(cluster.nodes[1].start)
            await in_thread(cluster.nodes[1].await_whole)
            for room in ROOMS:
                await append_until_taken(two, room, "after")
            seen = await until(notifications, is_a(Reconnected))
            last = {item.room: item.last for item in seen if isinstance(item, RoomAdvanced)}
            while any(last.get(room) != 2 for room in ROOMS):
                last |= {
                    item.room: item.last
                    for item in await until(notifications, is_a(RoomAdvanced))
                    if isinstance(item, RoomAdvanced)
                }
            for room in ROOMS:
                assert await texts(one, room) == ["before", "after"]

    asyncio.run(go())


def test_a_room_is_still_received_after_its_slot_has_moved(cluster: RedisCluster) -> None:
    async def go() -> None:
        async with open_backend(cluster.url) as one, open_backend(cluster.url) as two:
            await asyncio.gather(*map(one.watch, ROOMS))
            await two.append([draft for room in ROOMS for draft in drafts_in(room, 1)])
            notifications = one.notifications()
            slot = slot_of(cluster, ROOMS[0])
            for n in range(2, 5):
                await in_thread(lambda: move_slot(cluster, slot))
                await append_until_taken(two, ROOMS[0], str(n))
                await until(notifications, partial(has_reached, ROOMS[0], n))
            assert await texts(one, ROOMS[0]) == ["1", "2", "3", "4"]
            await watch_until_taken(one, "another")
            await two.append(drafts_in("another", 1))
            await until(notifications, lambda item: isinstance(item, RoomAdvanced) and item.room == "another")

    asyncio.run(go())


def test_an_unwatched_room_whose_slot_moved_to_a_new_node_can_be_watched(cluster: RedisCluster) -> None:
    async def go() -> None:
        async with open_backend(cluster.url) as backend:
            assert isinstance(backend, RedisBackend)
            # As if the node had been added after the connections were opened.
            connections = backend._listener.pubsub._connections
            slot = backend._listener.pubsub._slot(ROOMS[0])
            await connections.pop(backend._router.topology.address(slot)).close()
            async with asyncio.timeout(20):
                await watch_until_taken(backend, ROOMS[0])
            await backend.append(drafts_in(ROOMS[0], 1))

    asyncio.run(go())


def test_a_key_of_another_type_fails_a_batch_over_several_nodes_as_unavailable() -> None:
    url = stores.redis_cluster()

    async def go() -> None:
        async with open_backend(url) as backend:
            assert isinstance(backend, RedisBackend)
            meta = backend._reader._names.of(ROOMS[0]).meta
            slot = backend._router.topology.slot(meta)
            await backend._router.call("writes", slot, ("SET", meta, "x"))
            with pytest.raises(Unavailable):
                await backend.append([draft for room in ROOMS for draft in drafts_in(room, 1)])
            with pytest.raises(StoreError):
                await backend.append(drafts_in(ROOMS[0], 1))

    asyncio.run(go())


def rename_steps(move: RoomMove) -> list[Callable[[], Awaitable[object]]]:
    return [move.begin, move.copy, move.reserve, move.commit]


async def is_refused(call: Awaitable[object]) -> bool:
    try:
        await call
    except Unavailable:
        return True
    return False


@pytest.mark.parametrize("n_steps", range(1, 5))
def test_a_renaming_that_was_killed_is_completed_by_the_same_call(n_steps: int) -> None:
    async def go() -> None:
        url = stores.redis_cluster()
        async with open_backend(url) as killed, open_backend(url) as backend:
            assert isinstance(killed, RedisBackend)
            epoch = (await backend.append([*drafts_in("a", 1, 2), *keyed_drafts("a", "k")]))[0].message.epoch
            await backend.redact("a", 1)
            for step in rename_steps(killed._writer.make_move("a", "b"))[:n_steps]:
                await step()
            if n_steps < 4:
                assert await texts(backend, "a") == ["", "2", "k"]
                assert await is_refused(backend.append(drafts_in("a", "lost")))
                assert await is_refused(backend.redact("a", 2))
                assert await is_refused(backend.delete_room("a"))
                assert await backend.trim(keep=1) == 0
            else:
                assert await texts(backend, "a") == []
                await backend.append(drafts_in("a", "new"))
            assert await is_refused(backend.read("b")) == (n_steps >= 3)
            if n_steps >= 3:
                assert await is_refused(backend.append(drafts_in("b", "lost")))
                assert await is_refused(backend.delete_room("b")) or n_steps < 3
            assert await backend.rename_room("a", "b")
            assert await texts(backend, "b") == ["", "2", "k"]
            assert (await backend.read("b")).head.epoch == epoch
            assert await texts(backend, "a") == (["new"] if n_steps == 4 else [])
            (repeat, new) = await backend.append([*keyed_drafts("b", "k"), *drafts_in("b", 4)])
            assert (repeat.repeat, repeat.message.seq, new.message.seq) == (True, 3, 4)
            assert await backend.delete_room("b")
            await backend.append(drafts_in("a", "next"))
            assert await backend.rename_room("a", "b")
            assert (await texts(backend, "b"))[-1] == "next"
            assert [key async for key, ttl in all_keys(backend) if key.count(b":") > 2 and ttl < 0] == []

    asyncio.run(go())


async def all_keys(backend: Backend) -> AsyncIterator[tuple[bytes, int]]:
    """Iterate over all keys of a store and the seconds until they expire, -1 for never."""
    assert isinstance(backend, RedisBackend)
    prefix = backend._reader._names.of("a").meta.partition(b"{")[0]
    for address in backend._router.topology.masters():
        for key in await backend._router.call_at("searches", address, ("KEYS", prefix + b"*")):
            yield key, await backend._router.call_at("searches", address, ("TTL", key))


def test_of_two_renamings_of_one_room_one_gives_up() -> None:
    async def go() -> None:
        url = stores.redis_cluster()
        async with open_backend(url) as one, open_backend(url) as two:
            assert isinstance(one, RedisBackend)
            assert isinstance(two, RedisBackend)
            await one.append(drafts_in("a", *range(1200)))
            first, second = (backend._writer.make_move("a", "b") for backend in (one, two))
            for step in rename_steps(first)[:3]:
                await step()
            with pytest.raises(BadRequest, match="being renamed to 'b'"):
                await two.rename_room("a", "c")
            for step in rename_steps(second)[:3]:
                await step()
            with pytest.raises(BadRequest, match="try again"):
                await first.commit()
            assert await two.rename_room("a", "b")
            assert await texts(one, "b") == [str(n) for n in range(1200)]

    asyncio.run(go())


def test_a_renaming_that_is_cancelled_or_refused_changes_nothing() -> None:
    async def go() -> None:
        async with open_backend(stores.redis_cluster()) as backend:
            assert isinstance(backend, RedisBackend)
            await backend.append([*drafts_in("a", *range(900)), *drafts_in("b", 1)])
            with pytest.raises(BadRequest, match="exists"):
                await backend.rename_room("a", "b")
            move = backend._writer.make_move("a", "c")
            moving = asyncio.ensure_future(move.run())
            while not move.has_begun:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
            moving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await moving
            (receipt,) = await backend.append(drafts_in("a", "next"))
            assert receipt.message.seq == 901
            assert [key async for key, _ in all_keys(backend) if b"{c}" in key] == []

    asyncio.run(go())


def test_the_node_that_answered_last_is_asked_first() -> None:
    nodes = [Address("h", n) for n in range(3)]
    asked: list[Address] = []

    async def ask(address: Address, _: Command) -> list[list[object]]:
        asked.append(address)
        if address == nodes[0]:
            raise Unavailable("it hangs")
        return [[0, 16_383, *([b"h", n] for n in range(3))]]

    async def go() -> None:
        topology = ClusterServers(nodes)
        await topology.discover(ask)
        await topology.discover(ask)
        assert asked == [nodes[0], nodes[1], nodes[1]]

    asyncio.run(go())


def test_a_cluster_url_needs_a_cluster_and_a_server_url_a_single_server(cluster: RedisCluster) -> None:
    async def go() -> None:
        with pytest.raises(StoreError, match="is a node of a cluster"):
            async with open_backend(f"redis://127.0.0.1:{cluster.nodes[0].port}"):
                pass
        with pytest.raises(StoreError, match="cluster support disabled"):
            async with open_backend(stores.redis().replace("redis://", "redis+cluster://")):
                pass

    asyncio.run(go())
