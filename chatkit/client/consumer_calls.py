"""ConsumerCalls: what a worker of a consumer asks for, of a server (`ServerConsumer`) or of a store."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from chatkit.client.consumers import ConsumerClient
from chatkit.client.endpoint import Endpoint
from chatkit.core.consumer import Taken
from chatkit.errors import ChatkitError

INTERRUPT_S = 2.0  # after which a call that was interrupted is left to its thread

ValueT = TypeVar("ValueT")


class ConsumerCalls(Protocol):
    """The calls of one worker. They raise what `chatkit.core.consumer.Consumer` raises, and `Unavailable`."""

    room: str

    async def put(self, *, after: str, retries: int | None, ordered: bool) -> None:
        """Make the consumer, at the position `after`, or change the settings of the one that exists."""

    async def take(self, limit: int, lease_s: float, wait_s: float) -> Taken:
        """Lease messages. If this is cancelled, what was leased is given back."""

    async def ack(self, lease: str, seqs: Sequence[int] | None) -> None:
        """Settle messages of a lease, or all."""

    async def retry(self, lease: str, seqs: Sequence[int] | None, delay_s: float, reason: str) -> None:
        """Report that messages of a lease, or all, have failed."""

    async def release(self, lease: str, seqs: Sequence[int] | None) -> None:
        """Give messages of a lease, or all, back."""

    async def extend(self, lease: str, lease_s: float) -> None:
        """Let a lease run out `lease_s` seconds from now."""

    async def close(self) -> None:
        """End the calls."""


class ServerConsumer:
    """The calls of one worker to a server: on a connection and in a thread of its own, so that a wait delays no other.

    They are made one after another.
    """

    def __init__(self, endpoint: Endpoint, room: str, name: str) -> None:
        self.room = room
        self._name = name
        self._http = ConsumerClient(endpoint)
        self._thread = ThreadPoolExecutor(1, "chatkit-consumer")

    async def put(self, *, after: str, retries: int | None, ordered: bool) -> None:
        """Make the consumer, or change its settings."""
        put = partial(self._http.put_consumer, after=after, only_if_missing=True, retries=retries, ordered=ordered)
        await self._call(partial(put, self.room, self._name))

    async def take(self, limit: int, lease_s: float, wait_s: float) -> Taken:
        """Lease messages. If this is cancelled, what was leased is given back."""
        take = partial(self._http.take, self.room, self._name, limit=limit, lease_s=lease_s, wait_s=wait_s)
        call = asyncio.get_running_loop().run_in_executor(self._thread, take)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            self._http.interrupt()
            with suppress(ChatkitError, TimeoutError):
                async with asyncio.timeout(INTERRUPT_S):
                    taken = await call
                    if taken.lease is not None:  # the answer was already there
                        await self.release(taken.lease, None)
            raise

    async def ack(self, lease: str, seqs: Sequence[int] | None) -> None:
        """Settle messages of a lease."""
        await self._call(partial(self._http.ack, self.room, self._name, lease, seqs))

    async def retry(self, lease: str, seqs: Sequence[int] | None, delay_s: float, reason: str) -> None:
        """Report that messages of a lease have failed."""
        retry = partial(self._http.retry, delay_s=delay_s, reason=reason)
        await self._call(partial(retry, self.room, self._name, lease, seqs))

    async def release(self, lease: str, seqs: Sequence[int] | None) -> None:
        """Give messages of a lease back."""
        await self._call(partial(self._http.release, self.room, self._name, lease, seqs))

    async def extend(self, lease: str, lease_s: float) -> None:
        """Let a lease run out later."""
        await self._call(partial(self._http.extend, self.room, self._name, lease, lease_s))

    async def close(self) -> None:
        """Close the connection. A call that is still in progress ends."""
        self._http.interrupt()
        self._thread.submit(self._http.close)
        self._thread.shutdown(wait=False)

    async def _call(self, call: Callable[[], ValueT]) -> ValueT:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
