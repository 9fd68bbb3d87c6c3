"""Nodes: calls go to the server that serves their slot, on a link of their lane; scripts are sent where unknown.

A lane is a kind of work with a link of its own to each server, so that no kind waits behind another.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeAlias

from redis.exceptions import AskError, MovedError, NoScriptError, ReadOnlyError, ResponseError, TryAgainError

from chatkit.backends.redis.connection import Address, Command, RedisConnection, Reply, Wire
from chatkit.backends.redis.errors import as_ours
from chatkit.backends.redis.scripts import source_of
from chatkit.backends.redis.topology import Topology
from chatkit.errors import ChatkitError, Unavailable

QUIET_S = 10.0  # below what proxies and firewalls cut as idle
MAX_TURNS = 6  # how often a call is sent on: a slot that moves answers ASK, then MOVED; more is a map that is wrong
TURN_S = 0.05  # before a call is sent again that a moving slot could not take

Lane: TypeAlias = Literal["guides", "writes", "pages", "searches", "presence"]


class SlotCommand(NamedTuple):
    """A command, and the slot of its keys."""

    slot: int
    command: Command


class _RoutedCall:
    """A call on its way, perhaps by way of several servers."""

    __slots__ = ("_command", "_reply", "address", "asking", "is_done", "is_misled", "slot")

    def __init__(self, call: SlotCommand) -> None:
        self.slot, self._command = call
        self.address: Address | None = None  # where it was sent
        self.asking: Address | None = None  # where a slot is moving to that is not yet all there
        self._reply: Reply = None
        self.is_done = False
        self.is_misled = False  # the map was wrong

    @property
    def commands(self) -> list[Command]:
        return [self._command] if self.asking is None else [("ASKING",), self._command]

    def take(self, answers: Iterator[Reply]) -> None:
        """Take the answers to `commands`, and see whether it must be sent again."""
        if self.asking is not None:
            next(answers)
        self._reply = next(answers)
        self.asking = None
        self.is_misled = isinstance(self._reply, MovedError | ReadOnlyError)
        self.is_done = not isinstance(self._reply, NoScriptError | AskError | TryAgainError)
        match self._reply:
            case NoScriptError():
                self._command = ("EVAL", source_of(self._command[1]), *self._command[2:])
            case AskError() if not self.is_misled:
                self.asking = Address(self._reply.host, self._reply.port)

    def opened(self) -> Reply:
        """Return the answer; raise the error that it is."""
        return _or_raise(self._reply, str(self.address))


class Router:
    """The servers of a place. `connect` makes a connection to one, `guide` to who knows where they are."""

    def __init__(self, place: Topology, connect: Callable[[Address], Wire], guide: Callable[[Address], Wire]) -> None:
        self.place = place
        self._connect = connect
        self._guide = guide
        self._links: dict[tuple[Lane, Address], RedisConnection] = {}
        # Held while a link is opened: all who want it wait for the one.
        self._locks: defaultdict[tuple[Lane, Address], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._finding = asyncio.Lock()  # held while the map is learnt: once for all who need it
        self._is_stale = True  # the map may have changed
        self._is_closed = False

    async def close(self) -> None:
        """Close every link."""
        self._is_closed = True
        async with AsyncExitStack() as stack:
            for link in self._links.values():
                stack.push_async_callback(link.close)
        self._links.clear()

    def link(self, address: Address, **how: Any) -> RedisConnection:
        """Make a link of one's own, not yet open."""
        return RedisConnection(self._connect(address), **how)

    async def find(self) -> None:
        """Learn where everything is, if that may have changed."""
        async with self._finding:
            if self._is_stale:
                await self.place.find(self._ask)
                self._is_stale = False

    def mistrust(self) -> None:
        """Have the map learnt anew before it is used."""
        self._is_stale = True

    async def call(self, lane: Lane, slot: int, command: Command) -> Reply:
        """Send one command; return its answer. Raise `Unavailable`, `StoreError`."""
        (reply,) = await self.calls(lane, [SlotCommand(slot, command)])
        return reply

    async def calls(self, lane: Lane, calls: Sequence[SlotCommand], *, then: Sequence[Command] = ()) -> list[Reply]:
        """Send commands, in one round trip for each server; return their answers. Raise the first error there is.

        `then` is sent to each server behind what it got, and answered last. What is sent again was not done before.
        """
        parcels = [_RoutedCall(call) for call in calls]
        behind: list[Reply] = []
        for turn in range(MAX_TURNS):
            if self._is_stale:
                await self.find()
            behind += await self._send(lane, [parcel for parcel in parcels if not parcel.is_done], then)
            if any(parcel.is_misled for parcel in parcels):
                self.mistrust()
            if all(parcel.is_done for parcel in parcels):
                return [*(parcel.opened() for parcel in parcels), *behind]
            if turn:
                await asyncio.sleep(TURN_S)
        raise Unavailable("the Redis Cluster is moving these rooms: they could not be reached")

    async def at(self, lane: Lane, address: Address, command: Command) -> Reply:
        """Send one command to one server; return its answer. Raise `Unavailable`, `StoreError`."""
        (reply,) = await (await self._open_link(lane, address)).send([command])
        return _or_raise(reply, str(address))

    async def _ask(self, address: Address, command: Command) -> Reply:
        (reply,) = await (await self._open_link("guides", address)).send([command])
        return reply

    async def _send(self, lane: Lane, parcels: Sequence[_RoutedCall], then: Sequence[Command]) -> list[Reply]:
        """Send each parcel to where it belongs, and give it its answer; return the answers to `then`."""
        by_address: dict[Address, list[_RoutedCall]] = {}
        for parcel in parcels:
            parcel.address = parcel.asking or self.place.address(parcel.slot)
            by_address.setdefault(parcel.address, []).append(parcel)
        links = [await self._open_link(lane, address) for address in by_address]
        sent = []
        for link, of_link in zip(links, by_address.values(), strict=True):
            sent.append(link.send([*chain.from_iterable(parcel.commands for parcel in of_link), *then]))
        # Each to its end: what was sent cannot be taken back.
        came = await asyncio.gather(*sent, return_exceptions=True)
        behind: list[Reply] = []
        for of_link, answers in zip(by_address.values(), came, strict=True):
            if isinstance(answers, BaseException):
                self.mistrust()
                raise answers
            rest = iter(answers)
            for parcel in of_link:
                parcel.take(rest)
            behind += (_or_raise(reply, str(of_link[0].address)) for reply in rest)
        return behind

    async def _open_link(self, lane: Lane, address: Address) -> RedisConnection:
        key = lane, address
        link = self._links.get(key)
        if link is not None and link.fault is None:
            return link
        async with self._locks[key]:
            link = self._links.get(key)
            if link is not None and link.fault is None:
                return link
            self._check_open()
            if link is not None:
                del self._links[key]
                await link.close()
            link = RedisConnection((self._guide if lane == "guides" else self._connect)(address), quiet_s=QUIET_S)
            try:
                await link.open()
            except ChatkitError:
                self.mistrust()
                raise
            self._links[key] = link
            if self._is_closed:  # meanwhile: nobody else would close it
                await link.close()
            return link

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the backend was left")


def _or_raise(reply: Reply, where: str) -> Reply:
    if isinstance(reply, ResponseError):
        raise as_ours(reply, where) from reply
    return reply
