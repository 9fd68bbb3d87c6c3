"""FairQueue: runs expensive calls that any client may request: a few at a time, in fair order, with a time limit.

Addresses take turns, and so do the connections of one address, so a client with many calls delays only its own. A
caller that is cancelled leaves the queue.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from chatkit.errors import RateLimited, Unavailable

T = TypeVar("T")

RETRY_S = 1.0  # a client with too many waiting calls is told to retry after this

Client: TypeAlias = tuple[str, object]
"""An address, and one connection from there."""

_Turns: TypeAlias = dict[object, deque[asyncio.Future[None]]]


class FairQueue:
    """Runs at most `max_running` calls. At most `max_waiting` others wait, of one client `max_waiting_each`."""

    def __init__(self, name: str, *, max_running: int, max_waiting: int, max_waiting_each: int, limit_s: float) -> None:
        self._name = name
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._max_waiting_each = max_waiting_each
        self._limit_s = limit_s
        self.n_running = 0
        self.n_waiting = 0
        self._addresses: dict[str, _Turns] = {}  # in the order of their turns, as are the connections of each

    async def run(self, client: Client, call: Callable[[], Awaitable[T]]) -> T:
        """Run the call when it is the client's turn.

        Raise `RateLimited` if the client has too many calls in the queue, `Unavailable` if the queue is full or the
        call exceeds the time limit.
        """
        await self._acquire(client)
        try:
            async with asyncio.timeout(self._limit_s):
                return await call()
        except TimeoutError as error:
            raise Unavailable(f"{self._name} took longer than {self._limit_s:.0f} s and was cancelled") from error
        finally:
            self._release()

    async def _acquire(self, client: Client) -> None:
        if self.n_running < self._max_running:
            self.n_running += 1
            return
        turn = self._enqueue(client)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given a slot just before it was cancelled
                self._release()
            else:
                self._withdraw(client, turn)
            raise

    def _enqueue(self, client: Client) -> asyncio.Future[None]:
        if self.n_waiting >= self._max_waiting:
            raise Unavailable(f"too many clients wait for {self._name}")
        address, connection = client
        waiting = self._addresses.setdefault(address, {}).setdefault(connection, deque())
        if len(waiting) >= self._max_waiting_each:
            raise RateLimited(RETRY_S)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        self.n_waiting += 1
        return turn

    def _withdraw(self, client: Client, turn: asyncio.Future[None]) -> None:
        """Remove a waiting call. A cancelled one may have been skipped, and so removed, already."""
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

    def _release(self) -> None:
        """Give the slot to the next waiting call."""
        while self._addresses:
            turn = self._next_turn()
            if not turn.done():  # it is done if its caller was cancelled and has not run since
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
            turns[connection] = waiting  # after the other connections of its address
        if turns:
            self._addresses[address] = turns  # after the other addresses
        return turn
