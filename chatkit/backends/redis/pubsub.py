"""Channels: the connections that carry news, one to each server, and what is asked of the servers on them.

Answers and news come on one connection, in the order in which they happened: how far a room is, asked behind its
subscription, leaves nothing between the two. Knows what a room's channel is, and not who listens.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import AskError, NoScriptError, ResponseError

from chatkit.backends.redis.codec import KeyNames, RoomPosition, decode_left
from chatkit.backends.redis.connection import Address, Command, RedisConnection, Reply, Word
from chatkit.backends.redis.errors import as_ours
from chatkit.backends.redis.router import Router
from chatkit.backends.redis.scripts import Script, source_of
from chatkit.core.backend import new_epoch
from chatkit.errors import ChatkitError, Unavailable

# A link that carries nothing for so long asks: with the answer's time-out, how late a dead one is noticed.
QUIET_S = 2.0

_HEADS = Script("heads")


class RoomMoved(Unavailable):
    """A room is not where it was looked for: the links have to be made anew."""


class PubSub:
    """Subscriptions. `heard` gets what is published, by room; `lost` is called when a link is, or a slot moved."""

    def __init__(
        self, nodes: Router, names: KeyNames, heard: Callable[[str, bytes], None], lost: Callable[[ChatkitError], None]
    ) -> None:
        self._nodes = nodes
        self._names = names
        self._heard = heard
        self._lost = lost
        self._links: dict[Address, RedisConnection] = {}
        self._left: Counter[bytes] = Counter()  # channels that were left, until the cluster has said so
        self.is_sharded = True

    async def open(self) -> None:
        """Connect to every server. Raise `Unavailable` or `StoreError`."""
        await self._nodes.find()
        for address in self._nodes.place.masters():
            link = self._nodes.link(address, quiet_s=QUIET_S, heard=self._hear, lost=self._lost)
            await link.open()
            self._links[address] = link

    async def close(self) -> None:
        """Close every link."""
        self._left.clear()
        links, self._links = self._links, {}
        for link in links.values():
            await link.close()

    def subscribe(self, rooms: Sequence[str]) -> Coroutine[Any, Any, None]:
        """Subscribe; what is returned ends when the rooms' channels are heard. Raise `Unavailable` or `StoreError`.

        It is sent at once: were it sent in a later turn, a room that is left meanwhile would stay subscribed to.
        """
        return self._subscribed(self._send("SUBSCRIBE", rooms))

    async def _subscribed(self, sent: dict[RedisConnection, asyncio.Future[list[Reply]]]) -> None:
        for link, replies in zip(sent, await _all(sent.values()), strict=True):
            self._check(replies, link)

    def leave(self, rooms: Sequence[str]) -> None:
        """Hear these rooms no more."""
        with suppress(Unavailable):  # the links are being made anew, without these rooms
            self._send("UNSUBSCRIBE", rooms)
            if self._nodes.place.is_cluster:
                self._left.update(self._names.of(room).channel for room in rooms)

    async def drained(self, rooms: Sequence[str]) -> None:
        """Return when all is heard that was published in these rooms before. Raise `Unavailable`."""
        links = {self._link(self._slot(room)) for room in rooms}
        await _all([link.send([("PING",)]) for link in links])

    async def heads(self, rooms: Sequence[tuple[str, RoomPosition]]) -> dict[str, RoomPosition | ChatkitError]:
        """Ask how far rooms are, of which so much is known; a room that alone cannot be asked for gets its error.

        Raise `Unavailable` or `StoreError`.
        """
        by_slot: dict[int, list[tuple[str, RoomPosition]]] = {}
        for room, known in rooms:
            by_slot.setdefault(self._slot(room), []).append((room, known))
        by_link: dict[RedisConnection, list[list[tuple[str, RoomPosition]]]] = {}
        for slot, of_slot in by_slot.items():
            by_link.setdefault(self._link(slot), []).append(of_slot)
        epoch = new_epoch()
        asked = [
            self._ask(link, [self._heads_command(epoch, of_slot) for of_slot in slots])
            for link, slots in by_link.items()
        ]
        found: dict[str, RoomPosition | ChatkitError] = {}
        for link, replies in zip(by_link, await asyncio.gather(*asked), strict=True):
            for of_slot, heads in zip(by_link[link], replies, strict=True):
                found |= {room: _head(head, link) for (room, _), head in zip(of_slot, heads, strict=True)}
        return found

    async def redacted(self, room: str) -> list[int]:
        """Return the numbers of a room's redacted messages. Raise `Unavailable` or `StoreError`."""
        link = self._link(self._slot(room))
        (replies,) = await _all([link.send([("ZRANGE", self._names.of(room).gone, 0, -1)])])
        self._check(replies, link)
        return [decode_left(text) for text in replies[0]]

    async def _ask(self, link: RedisConnection, commands: list[Command]) -> list[Reply]:
        (replies,) = await _all([link.send(commands)])
        if any(isinstance(reply, NoScriptError) for reply in replies):
            commands = [("EVAL", source_of(command[1]), *command[2:]) for command in commands]
            (replies,) = await _all([link.send(commands)])
        self._check(replies, link)
        return replies

    def _heads_command(self, epoch: str, rooms: Sequence[tuple[str, RoomPosition]]) -> Command:
        arguments: list[Word] = [epoch]
        for _, known in rooms:
            arguments += (known.epoch, known.last)
        return _HEADS([self._names.of(room).meta for room, _ in rooms], arguments)

    def _send(self, verb: str, rooms: Sequence[str]) -> dict[RedisConnection, asyncio.Future[list[Reply]]]:
        """Send what subscribes to channels or leaves them, in one command for each slot."""
        word = f"S{verb}" if self.is_sharded else verb
        by_slot: dict[int, list[bytes]] = {}
        for room in rooms:
            by_slot.setdefault(self._slot(room), []).append(self._names.of(room).channel)
        by_link: dict[RedisConnection, list[Command]] = {}
        for slot, channels in by_slot.items():
            by_link.setdefault(self._link(slot), []).append((word, *channels))
        return {link: link.send(commands, answered=False) for link, commands in by_link.items()}

    def _slot(self, room: str) -> int:
        return self._nodes.place.slot(self._names.of(room).meta)

    def _link(self, slot: int) -> RedisConnection:
        link = self._links.get(self._nodes.place.address(slot))
        if link is None:
            raise RoomMoved("the Redis Cluster has changed")
        return link

    def _check(self, replies: Sequence[Reply], link: RedisConnection) -> None:
        for reply in replies:
            if isinstance(reply, ResponseError):
                if isinstance(reply, AskError):  # or MOVED, which is one of these
                    raise RoomMoved(str(as_ours(reply, link.where))) from reply
                raise as_ours(reply, link.where) from reply

    def _hear(self, push: list[Any]) -> None:
        kind = push[0]
        if kind in {b"smessage", b"message"}:
            self._heard(self._names.room(push[1]), push[2])
        elif kind == b"sunsubscribe" and self._nodes.place.is_cluster:
            self._unsubscribed(push[1])

    def _unsubscribed(self, channel: bytes) -> None:
        if self._left[channel] > 1:
            self._left[channel] -= 1
        elif not self._left.pop(channel, 0):  # nobody asked for it: the slot is another node's now
            self._lost(Unavailable("rooms move between the nodes of the Redis Cluster"))


def _head(reply: Reply, link: RedisConnection) -> RoomPosition | ChatkitError:
    if isinstance(reply, ResponseError):
        return as_ours(reply, link.where)
    epoch, last, redacted = reply
    return RoomPosition(epoch.decode(), last, redacted)


async def _all(sent: Iterable[asyncio.Future[list[Reply]]]) -> list[list[Reply]]:
    """Wait for all answers; raise the first fault only when none is under way any more."""
    came = await asyncio.gather(*sent, return_exceptions=True)
    for replies in came:
        if isinstance(replies, BaseException):
            raise replies
    return [replies for replies in came if not isinstance(replies, BaseException)]
