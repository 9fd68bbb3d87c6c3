"""FairQueue: work that is dear and may be asked for by anybody: a few at once, in turn, bounded, and timed.

Addresses have their turns one after another, and so have the connections of one address: whoever asks for much waits
behind nobody but itself. A caller that is cancelled gives its place up.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from chatkit.errors import RateLimited, Unavailable

T = TypeVar("T")

RETRY_S = 1.0  # a client with too many waiting calls asks again after this

Client: TypeAlias = tuple[str, object]
"""An address, and one connection from there."""

_Turns: TypeAlias = dict[object, deque[asyncio.Future[None]]]


class FairQueue:
    """Runs at most `max_running` calls, and lets at most `max_waiting` wait, of one client `max_waiting_each`."""

    def __init__(self, name: str, *, max_running: int, max_waiting: int, max_waiting_each: int, limit_s: float) -> None:
        self._name = name
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._max_waiting_each = max_waiting_each
        self._limit_s = limit_s
        self.n_running = 0
        self.n_waiting = 0
        self._addresses: dict[str, _Turns] = {}  # in the order of their turns, and so are the connections of each

    async def run(self, client: Client, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call when it is the client's turn. Raise `RateLimited`, or `Unavailable` after the time limit."""
        await self._enter(client)
        try:
            async with asyncio.timeout(self._limit_s):
                return await call()
        except TimeoutError as error:
            raise Unavailable(f"{self._name} took longer than {self._limit_s:.0f} s, and was ended") from error
        finally:
            self._leave()

    async def _enter(self, client: Client) -> None:
        if self.n_running < self._max_running:
            self.n_running += 1
            return
        turn = self._wait(client)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given the place in the moment in which it left
                self._leave()
            else:
                self._forget(client, turn)
            raise

    def _wait(self, client: Client) -> asyncio.Future[None]:
        if self.n_waiting >= self._max_waiting:
            raise Unavailable(f"too many wait for {self._name}")
        address, connection = client
        waiting = self._addresses.setdefault(address, {}).setdefault(connection, deque())
        if len(waiting) >= self._max_waiting_each:
            raise RateLimited(RETRY_S)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        self.n_waiting += 1
        return turn

    def _forget(self, client: Client, turn: asyncio.Future[None]) -> None:
        """Take back a call that waits. One that was cancelled may have been passed over already."""
        address, connection = client
        turns = self._addresses.get(address, {})
        waiting = turns.get(connection, deque())
        if turn not in waiting:
            return
        waiting.remove(turn)
        self.n_waiting -= 1
        if not waiting:
            del turns[connection]
        if not turns:
            del self._addresses[address]

    def _leave(self) -> None:
        """Give the place to whoever has the next turn."""
        while self._addresses:
            turn = self._next_turn()
            if not turn.done():  # it is, when its caller was cancelled and has not run since
                turn.set_result(None)
                return
        self.n_running -= 1

    def _next_turn(self) -> asyncio.Future[None]:
        address = next(iter(self._addresses))
        turns = self._addresses.pop(address)
        connection = next(iter(turns))
        waiting = turns.pop(connection)
        turn = waiting.popleft()
        self.n_waiting -= 1
        if waiting:
            turns[connection] = waiting  # behind the others of its address
        if turns:
            self._addresses[address] = turns  # behind the other addresses
        return turn
