"""A Redis Cluster: rooms on several nodes, nodes that go and come back, slots that move."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
import stores
from redis_steps import append_until_taken, impatient, in_thread, is_a

from chatkit.backends import open_backend
from chatkit.backends.conformance.case import said, texts, until
from chatkit.backends.redis import Address, RedisBackend
from chatkit.backends.redis.codec import KeyNames
from chatkit.backends.redis.connection import Command
from chatkit.backends.redis.topology import ClusterServers
from chatkit.bench.local.redis import RedisCluster
from chatkit.core.backend import Backend, Disconnected, Notification, Reconnected, RoomAdvanced
from chatkit.core.model import Member
from chatkit.errors import StoreError, Unavailable

__all__ = ["impatient"]

ROOMS = [f"room{n}" for n in range(60)]  # on all nodes, many of them: which one is chance's, and the same every time


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """A cluster of the test's own, to be done anything to."""
    with RedisCluster(stores.UNSYNCED) as own:
        yield own


def slot_of(cluster: RedisCluster, room: str) -> str:
    return cluster.nodes[0].ask("CLUSTER", "KEYSLOT", KeyNames("chatkit:", 0).of(room).log.decode())


def move_slot(cluster: RedisCluster, slot: str) -> None:
    """Move a slot and its keys from the node that has it to another, as redis-cli --cluster does it."""
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
    """Say whether a node serves a slot: it does not send those who ask elsewhere."""
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
        except Unavailable:  # the links are being mended
            await asyncio.sleep(0.02)


def has_reached(room: str, last: int, item: Notification) -> bool:
    return isinstance(item, RoomAdvanced) and (item.room, item.last) == (room, last)


def test_one_batch_goes_to_rooms_on_every_node() -> None:
    url = stores.redis_cluster()

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            await asyncio.gather(*map(one.watch, ROOMS))
            receipts = await two.append([draft for n in range(3) for room in ROOMS for draft in said(room, n)])
            assert [receipt.message.seq for receipt in receipts] == [n for n in (1, 2, 3) for _ in ROOMS]
            seen: set[str] = set()
            while seen != set(ROOMS):
                (grown,) = [
                    item
                    for item in await until(one.notifications(), is_a(RoomAdvanced))
                    if isinstance(item, RoomAdvanced)
                ]
                assert [message.body for message in grown.messages] == ["0", "1", "2"]
                seen.add(grown.room)
            assert [info.room for info in await one.rooms()] == sorted(ROOMS)
            assert await one.trim(keep=1) == 2 * len(ROOMS)
            await one.announce("p1", joined=[(room, Member("ann", 1)) for room in ROOMS], left=[], ttl_s=60)
            (present,) = await two.poll_presence("p2")
            assert len(present.joined) == len(ROOMS)

    asyncio.run(go())


@pytest.mark.usefixtures("impatient")
def test_a_node_that_is_killed_takes_its_rooms_with_it_and_brings_them_back(cluster: RedisCluster) -> None:
    async def go() -> None:
        async with open_backend(cluster.url) as one, open_backend(cluster.url) as two:
            await asyncio.gather(*map(one.watch, ROOMS))
            await two.append([draft for room in ROOMS for draft in said(room, "before")])
            news = one.notifications()
            await in_thread(cluster.nodes[1].kill)
            await until(news, is_a(Disconnected))
            with pytest.raises(Unavailable):
                await two.append([draft for room in ROOMS for draft in said(f"{room}x", 1)])
            await in_thread(cluster.nodes[1].start)
            await in_thread(cluster.nodes[1].await_whole)
            for room in ROOMS:
                await append_until_taken(two, room, "after")
            seen = await until(news, is_a(Reconnected))
            last = {item.room: item.last for item in seen if isinstance(item, RoomAdvanced)}
            while any(last.get(room) != 2 for room in ROOMS):
                last |= {
                    item.room: item.last
                    for item in await until(news, is_a(RoomAdvanced))
                    if isinstance(item, RoomAdvanced)
                }
            for room in ROOMS:
                assert await texts(one, room) == ["before", "after"]

    asyncio.run(go())


def test_a_slot_that_moves_takes_its_room_along_and_is_heard_where_it_is(cluster: RedisCluster) -> None:
    async def go() -> None:
        async with open_backend(cluster.url) as one, open_backend(cluster.url) as two:
            await asyncio.gather(*map(one.watch, ROOMS))
            await two.append([draft for room in ROOMS for draft in said(room, 1)])
            news = one.notifications()
            slot = slot_of(cluster, ROOMS[0])
            for n in range(2, 5):
                await in_thread(lambda: move_slot(cluster, slot))
                await append_until_taken(two, ROOMS[0], str(n))
                await until(news, partial(has_reached, ROOMS[0], n))
            assert await texts(one, ROOMS[0]) == ["1", "2", "3", "4"]
            await watch_until_taken(one, "another")
            await two.append(said("another", 1))
            await until(news, lambda item: isinstance(item, RoomAdvanced) and item.room == "another")

    asyncio.run(go())


def test_a_room_whose_slot_went_to_a_new_node_while_nobody_watched_it_can_be_watched(cluster: RedisCluster) -> None:
    async def go() -> None:
        async with open_backend(cluster.url) as backend:
            assert isinstance(backend, RedisBackend)
            # As if the node had come after the links were made.
            links = backend._listener.pubsub._connections
            slot = backend._listener.pubsub._slot(ROOMS[0])
            await links.pop(backend._router.topology.address(slot)).close()
            async with asyncio.timeout(20):
                await watch_until_taken(backend, ROOMS[0])
            await backend.append(said(ROOMS[0], 1))

    asyncio.run(go())


def test_a_room_that_is_something_else_does_not_refuse_for_good_what_other_nodes_have_stored() -> None:
    url = stores.redis_cluster()

    async def go() -> None:
        async with open_backend(url) as backend:
            assert isinstance(backend, RedisBackend)
            meta = backend._reader._names.of(ROOMS[0]).meta
            slot = backend._router.topology.slot(meta)
            await backend._router.call("writes", slot, ("SET", meta, "x"))
            with pytest.raises(Unavailable):
                await backend.append([draft for room in ROOMS for draft in said(room, 1)])
            with pytest.raises(StoreError):
                await backend.append(said(ROOMS[0], 1))

    asyncio.run(go())


def test_who_answered_is_asked_first_where_the_rooms_are() -> None:
    nodes = [Address("h", n) for n in range(3)]
    asked: list[Address] = []

    async def ask(address: Address, _: Command) -> list[list[object]]:
        asked.append(address)
        if address == nodes[0]:
            raise Unavailable("it stands still")
        return [[0, 16_383, *([b"h", n] for n in range(3))]]

    async def go() -> None:
        topology = ClusterServers(nodes)
        await topology.discover(ask)
        await topology.discover(ask)
        assert asked == [nodes[0], nodes[1], nodes[1]]

    asyncio.run(go())


def test_a_cluster_is_not_taken_for_a_server_nor_a_server_for_a_cluster(cluster: RedisCluster) -> None:
    async def go() -> None:
        with pytest.raises(StoreError, match="is a node of a cluster"):
            async with open_backend(f"redis://127.0.0.1:{cluster.nodes[0].port}"):
                pass
        with pytest.raises(StoreError, match="cluster support disabled"):
            async with open_backend(stores.redis().replace("redis://", "redis+cluster://")):
                pass

    asyncio.run(go())
