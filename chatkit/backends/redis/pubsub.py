"""PubSub: the connections that carry notifications, one to each server, and the queries that are sent on them.

Answers and notifications arrive on one connection, in the order in which they happened. The position of a room, read
after its subscription, therefore leaves no message between the two. Knows how a room's Redis channel is named, and
nothing of its readers.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import AskError, NoScriptError, ResponseError

from chatkit.backends.redis.codec import KeyNames, RoomPosition, decode_tombstone_seq
from chatkit.backends.redis.connection import Address, Command, RedisConnection, Reply, Word
from chatkit.backends.redis.errors import to_chatkit_error
from chatkit.backends.redis.router import Router
from chatkit.backends.redis.scripts import Script, source_of
from chatkit.core.backend import new_epoch
from chatkit.errors import ChatkitError, Unavailable

# After this time without data, a connection sends a PING: together with the answer's time-out, this bounds how late a
# dead connection is noticed.
PING_AFTER_S = 2.0

_HEADS = Script("heads")


class RoomMoved(Unavailable):
    """A room is no longer on the server that it was looked for: the connections have to be opened again."""


class PubSub:
    """Subscriptions to rooms.

    `on_message` receives each room's publications; `on_lost` is called when a connection is lost or a slot has moved.
    """

    def __init__(
        self,
        router: Router,
        names: KeyNames,
        on_message: Callable[[str, bytes], None],
        on_lost: Callable[[ChatkitError], None],
    ) -> None:
        self._router = router
        self._names = names
        self._on_message = on_message
        self._on_lost = on_lost
        self._connections: dict[Address, RedisConnection] = {}
        self._unconfirmed: Counter[bytes] = Counter()  # unsubscribed channels, until the cluster confirms it
        self.is_sharded = True

    async def open(self) -> None:
        """Connect to every server. Raise `Unavailable` or `StoreError`."""
        await self._router.discover()
        for address in self._router.topology.masters():
            connection = self._router.make_connection(
                address, ping_after_s=PING_AFTER_S, on_push=self._on_push, on_lost=self._on_lost
            )
            await connection.open()
            self._connections[address] = connection

    async def close(self) -> None:
        """Close every connection."""
        self._unconfirmed.clear()
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            await connection.close()

    def subscribe(self, rooms: Sequence[str]) -> Coroutine[Any, Any, None]:
        """Subscribe to rooms. The returned coroutine ends when the server has confirmed it.

        The command is sent before this method returns. If it were sent in a later turn of the event loop, a room that
        is unsubscribed in between would stay subscribed. Raise `Unavailable` or `StoreError`.
        """
        return self._wait_subscribed(self._send("SUBSCRIBE", rooms))

    async def _wait_subscribed(self, sent: dict[RedisConnection, asyncio.Future[list[Reply]]]) -> None:
        for connection, replies in zip(sent, await _all(sent.values()), strict=True):
            self._check(replies, connection)

    def unsubscribe(self, rooms: Sequence[str]) -> None:
        """Unsubscribe from rooms, without waiting."""
        with suppress(Unavailable):  # the connections are being opened again, without these rooms
            self._send("UNSUBSCRIBE", rooms)
            if self._router.topology.is_cluster:
                self._unconfirmed.update(self._names.of(room).channel for room in rooms)

    async def wait_delivered(self, rooms: Sequence[str]) -> None:
        """Wait until every earlier publication in these rooms has been received. Raise `Unavailable`."""
        connections = {self._connection(self._slot(room)) for room in rooms}
        await _all([connection.send([("PING",)]) for connection in connections])

    async def read_positions(self, rooms: Sequence[tuple[str, RoomPosition]]) -> dict[str, RoomPosition | ChatkitError]:
        """Read the current position of rooms, given the position that is known of each.

        A room that cannot be read gets its error, if the others can. Raise `Unavailable` or `StoreError`.
        """
        by_slot: dict[int, list[tuple[str, RoomPosition]]] = {}
        for room, known in rooms:
            by_slot.setdefault(self._slot(room), []).append((room, known))
        by_connection: dict[RedisConnection, list[list[tuple[str, RoomPosition]]]] = {}
        for slot, of_slot in by_slot.items():
            by_connection.setdefault(self._connection(slot), []).append(of_slot)
        asked = [
            self._ask(connection, [self._heads_command(of_slot) for of_slot in slots])
            for connection, slots in by_connection.items()
        ]
        found: dict[str, RoomPosition | ChatkitError] = {}
        for connection, replies in zip(by_connection, await asyncio.gather(*asked), strict=True):
            for of_slot, heads in zip(by_connection[connection], replies, strict=True):
                found |= {room: _position(head, connection) for (room, _), head in zip(of_slot, heads, strict=True)}
        return found

    async def redacted_seqs(self, room: str) -> list[int]:
        """Return the seqs of a room's redacted messages. Raise `Unavailable` or `StoreError`."""
        connection = self._connection(self._slot(room))
        (replies,) = await _all([connection.send([("ZRANGE", self._names.of(room).gone, 0, -1)])])
        self._check(replies, connection)
        return [decode_tombstone_seq(text) for text in replies[0]]

    async def _ask(self, connection: RedisConnection, commands: list[Command]) -> list[Reply]:
        (replies,) = await _all([connection.send(commands)])
        if any(isinstance(reply, NoScriptError) for reply in replies):
            commands = [("EVAL", source_of(command[1]), *command[2:]) for command in commands]
            (replies,) = await _all([connection.send(commands)])
        self._check(replies, connection)
        return replies

    def _heads_command(self, rooms: Sequence[tuple[str, RoomPosition]]) -> Command:
        arguments: list[Word] = [new_epoch()]
        for _, known in rooms:
            arguments += (known.epoch, known.last)
        return _HEADS([self._names.of(room).meta for room, _ in rooms], arguments)

    def _send(self, verb: str, rooms: Sequence[str]) -> dict[RedisConnection, asyncio.Future[list[Reply]]]:
        """Send SUBSCRIBE or UNSUBSCRIBE for these rooms, in one command for each slot."""
        word = f"S{verb}" if self.is_sharded else verb
        by_slot: dict[int, list[bytes]] = {}
        for room in rooms:
            by_slot.setdefault(self._slot(room), []).append(self._names.of(room).channel)
        by_connection: dict[RedisConnection, list[Command]] = {}
        for slot, channels in by_slot.items():
            by_connection.setdefault(self._connection(slot), []).append((word, *channels))
        return {connection: connection.send(commands, answered=False) for connection, commands in by_connection.items()}

    def _slot(self, room: str) -> int:
        return self._router.topology.slot(self._names.of(room).meta)

    def _connection(self, slot: int) -> RedisConnection:
        connection = self._connections.get(self._router.topology.address(slot))
        if connection is None:
            raise RoomMoved("the Redis Cluster has changed")
        return connection

    def _check(self, replies: Sequence[Reply], connection: RedisConnection) -> None:
        for reply in replies:
            if isinstance(reply, ResponseError):
                if isinstance(reply, AskError):  # MovedError is a subclass of it
                    raise RoomMoved(str(to_chatkit_error(reply, connection.where))) from reply
                raise to_chatkit_error(reply, connection.where) from reply

    def _on_push(self, push: list[Any]) -> None:
        kind = push[0]
        if kind in {b"smessage", b"message"}:
            self._on_message(self._names.room(push[1]), push[2])
        elif kind == b"sunsubscribe" and self._router.topology.is_cluster:
            self._on_unsubscribed(push[1])

    def _on_unsubscribed(self, channel: bytes) -> None:
        if self._unconfirmed[channel] > 1:
            self._unconfirmed[channel] -= 1
        elif not self._unconfirmed.pop(channel, 0):  # not requested: the slot has moved to another node
            self._on_lost(Unavailable("rooms move between the nodes of the Redis Cluster"))


def _position(reply: Reply, connection: RedisConnection) -> RoomPosition | ChatkitError:
    if isinstance(reply, ResponseError):
        return to_chatkit_error(reply, connection.where)
    epoch, last, redacted = reply
    return RoomPosition(epoch.decode(), last, redacted)


async def _all(sent: Iterable[asyncio.Future[list[Reply]]]) -> list[list[Reply]]:
    """Wait for all answers. Raise the first error, but only after all of them have arrived."""
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    for replies in outcomes:
        if isinstance(replies, BaseException):
            raise replies
    return [replies for replies in outcomes if not isinstance(replies, BaseException)]
