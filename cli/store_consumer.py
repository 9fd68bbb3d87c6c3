"""StoreConsumer: the calls of a consumer's worker to a store that is opened without a server."""

from collections.abc import Awaitable, Callable, Sequence

from chatkit.core.consumer import Consumer, Taken
from chatkit.core.consumers import Start
from chatkit.core.model import Cursor
from chatkit.toolkit import Hub


class StoreConsumer:
    """The calls of one worker; see `chatkit.client.consumer_calls.ConsumerCalls`. A new consumer belongs to `owner`."""

    def __init__(self, open_hub: Callable[[], Awaitable[Hub]], room: str, name: str, *, owner: str) -> None:
        self.room = room
        self._open_hub = open_hub
        self._name = name
        self._owner = owner

    async def put(self, *, after: str, retries: int | None, ordered: bool) -> None:
        """Make the consumer, or change its settings."""
        await (await self._open_hub()).consumers.put(
            self.room,
            self._name,
            owner=self._owner,
            after=read_start(after),
            only_if_missing=True,
            retries=retries,
            ordered=ordered,
        )

    async def receive(self, limit: int, lease_s: float, wait_s: float) -> Taken:
        """Lease messages."""
        return await (await self._consumer()).receive(limit=limit, lease_s=lease_s, wait_s=wait_s)

    async def ack(self, lease: str, seqs: Sequence[int] | None) -> None:
        """Settle messages of a lease."""
        await (await self._consumer()).ack(lease, seqs)

    async def retry(self, lease: str, seqs: Sequence[int] | None, delay_s: float, reason: str) -> None:
        """Report that messages of a lease have failed."""
        await (await self._consumer()).retry(lease, seqs, delay_s=delay_s, reason=reason)

    async def release(self, lease: str, seqs: Sequence[int] | None) -> None:
        """Give messages of a lease back."""
        await (await self._consumer()).release(lease, seqs)

    async def extend(self, lease: str, lease_s: float) -> None:
        """Let a lease run out later."""
        await (await self._consumer()).extend(lease, lease_s)

    async def close(self) -> None:
        """Do nothing: the hub is the client's."""

    async def _consumer(self) -> Consumer:
        return (await self._open_hub()).consumers.consumer(self.room, self._name)


def read_start(after: str) -> Start:
    """Return the place `start`, `end` or a cursor. Raise `BadCursor`."""
    match after:
        case "start" | "end":
            return after
        case _:
            return Cursor.parse(after)
