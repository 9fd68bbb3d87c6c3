"""Router: sends each command to the server of its slot, on the connection of its purpose.

A purpose is a kind of work. Each purpose has its own connection to each server, so that none waits behind another. A
script is sent in full when a server does not know it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeAlias

from redis.exceptions import AskError, MovedError, NoScriptError, ReadOnlyError, ResponseError, TryAgainError

from chatkit.backends.redis.connection import Address, Command, DriverConnection, RedisConnection, Reply
from chatkit.backends.redis.errors import to_chatkit_error
from chatkit.backends.redis.scripts import source_of
from chatkit.backends.redis.topology import Topology
from chatkit.errors import ChatkitError, Unavailable

PING_AFTER_S = 10.0  # below the idle time-outs of proxies and firewalls
MAX_ATTEMPTS = 6  # a moving slot answers ASK, then MOVED; more redirections mean that the map is wrong
RETRY_S = 0.05  # pause before a call is repeated that a moving slot rejected

Purpose: TypeAlias = Literal["discovery", "writes", "pages", "searches", "presence"]


class SlotCommand(NamedTuple):
    """A command, and the slot of its keys."""

    slot: int
    command: Command


class _RoutedCall:
    """A call in progress, which may be redirected from server to server."""

    __slots__ = ("_command", "_reply", "address", "ask_address", "is_done", "is_misrouted", "slot")

    def __init__(self, call: SlotCommand) -> None:
        self.slot, self._command = call
        self.address: Address | None = None  # the server that it was sent to
        self.ask_address: Address | None = None  # the server that a slot is moving to, if the move is not complete
        self._reply: Reply = None
        self.is_done = False
        self.is_misrouted = False  # the map was wrong

    @property
    def commands(self) -> list[Command]:
        return [self._command] if self.ask_address is None else [("ASKING",), self._command]

    def read_answers(self, answers: Iterator[Reply]) -> None:
        """Read the answers to `commands`, and decide whether the command must be sent again."""
        if self.ask_address is not None:
            next(answers)
        self._reply = next(answers)
        self.ask_address = None
        self.is_misrouted = isinstance(self._reply, MovedError | ReadOnlyError)
        self.is_done = not isinstance(self._reply, NoScriptError | AskError | TryAgainError)
        match self._reply:
            case NoScriptError():
                self._command = ("EVAL", source_of(self._command[1]), *self._command[2:])
            case AskError() if not self.is_misrouted:
                self.ask_address = Address(self._reply.host, self._reply.port)

    def result(self) -> Reply:
        """Return the answer. Raise it if it is an error."""
        return _or_raise(self._reply, str(self.address))


class Router:
    """The servers of a topology.

    `connect` makes a connection to a server that stores rooms, `connect_discovery` one to a server that knows the
    topology.
    """

    def __init__(
        self,
        topology: Topology,
        connect: Callable[[Address], DriverConnection],
        connect_discovery: Callable[[Address], DriverConnection],
    ) -> None:
        self.topology = topology
        self._connect = connect
        self._connect_discovery = connect_discovery
        self._connections: dict[tuple[Purpose, Address], RedisConnection] = {}
        # Each is held while its connection is opened: all callers that need the connection wait for the same one.
        self._locks: defaultdict[tuple[Purpose, Address], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._discovering = asyncio.Lock()  # held during a discovery, which then serves all callers that need it
        self._is_stale = True  # the topology may have changed
        self._is_closed = False

    async def close(self) -> None:
        """Close every connection."""
        self._is_closed = True
        async with AsyncExitStack() as stack:
            for connection in self._connections.values():
                stack.push_async_callback(connection.close)
        self._connections.clear()

    def make_connection(self, address: Address, **options: Any) -> RedisConnection:
        """Make a connection for the caller's own use, not yet open."""
        return RedisConnection(self._connect(address), **options)

    async def discover(self) -> None:
        """Read the topology from the servers, if it may have changed."""
        async with self._discovering:
            if self._is_stale:
                await self.topology.discover(self._ask)
                self._is_stale = False

    def invalidate(self) -> None:
        """Read the topology again before it is next used."""
        self._is_stale = True

    async def call(self, purpose: Purpose, slot: int, command: Command) -> Reply:
        """Send one command; return its answer. Raise `Unavailable`, `StoreError`."""
        (reply,) = await self.calls(purpose, [SlotCommand(slot, command)])
        return reply

    async def calls(
        self, purpose: Purpose, calls: Sequence[SlotCommand], *, then: Sequence[Command] = ()
    ) -> list[Reply]:
        """Send commands, in one round trip for each server; return their answers. Raise the first error.

        `then` is sent to each of these servers after the commands; its answers come last. Only a command that was not
        executed is sent again.
        """
        routed = [_RoutedCall(call) for call in calls]
        trailing: list[Reply] = []
        for attempt in range(MAX_ATTEMPTS):
            if self._is_stale:
                await self.discover()
            trailing += await self._send(purpose, [call for call in routed if not call.is_done], then)
            if any(call.is_misrouted for call in routed):
                self.invalidate()
            if all(call.is_done for call in routed):
                return [*(call.result() for call in routed), *trailing]
            if attempt:
                await asyncio.sleep(RETRY_S)
        raise Unavailable("Redis is moving or renaming these rooms: try again")

    async def call_at(self, purpose: Purpose, address: Address, command: Command) -> Reply:
        """Send one command to one server; return its answer. Raise `Unavailable`, `StoreError`."""
        (reply,) = await (await self._open_connection(purpose, address)).send([command])
        return _or_raise(reply, str(address))

    async def _ask(self, address: Address, command: Command) -> Reply:
        (reply,) = await (await self._open_connection("discovery", address)).send([command])
        return reply

    async def _send(self, purpose: Purpose, routed: Sequence[_RoutedCall], then: Sequence[Command]) -> list[Reply]:
        """Send each call to its server and give it its answer; return the answers to `then`."""
        by_address: dict[Address, list[_RoutedCall]] = {}
        for call in routed:
            call.address = call.ask_address or self.topology.address(call.slot)
            by_address.setdefault(call.address, []).append(call)
        connections = [await self._open_connection(purpose, address) for address in by_address]
        sent = []
        for connection, calls in zip(connections, by_address.values(), strict=True):
            sent.append(connection.send([*chain.from_iterable(call.commands for call in calls), *then]))
        # Wait for all of them: a command that was sent cannot be withdrawn.
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        trailing: list[Reply] = []
        for calls, answers in zip(by_address.values(), outcomes, strict=True):
            if isinstance(answers, BaseException):
                self.invalidate()
                raise answers
            rest = iter(answers)
            for call in calls:
                call.read_answers(rest)
            trailing += (_or_raise(reply, str(calls[0].address)) for reply in rest)
        return trailing

    async def _open_connection(self, purpose: Purpose, address: Address) -> RedisConnection:
        key = purpose, address
        connection = self._connections.get(key)
        if connection is not None and connection.fault is None:
            return connection
        async with self._locks[key]:
            connection = self._connections.get(key)
            if connection is not None and connection.fault is None:
                return connection
            self._check_open()
            if connection is not None:
                del self._connections[key]
                await connection.close()
            connect = self._connect_discovery if purpose == "discovery" else self._connect
            connection = RedisConnection(connect(address), ping_after_s=PING_AFTER_S)
            try:
                await connection.open()
            except ChatkitError:
                self.invalidate()
                raise
            self._connections[key] = connection
            if self._is_closed:  # `close` ran while this connection was being opened, and did not see it
                await connection.close()
            return connection

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the backend was closed")


def _or_raise(reply: Reply, where: str) -> Reply:
    if isinstance(reply, ResponseError):
        raise to_chatkit_error(reply, where) from reply
    return reply
