"""One room on its way to one socket: when it is woken, it writes what is due, as far as the socket takes it.

A full socket gets nothing; the subscription's position stands for what it did not get.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeAlias

from chatkit.core.model import Gap, Message
from chatkit.core.segment import Encode
from chatkit.core.subscription import Item, Subscription, WouldBlock
from chatkit.errors import ChatkitError
from chatkit.websocket.direct import DirectSocket

EncodeGap: TypeAlias = Callable[[Subscription, Gap], bytes]
EncodeEpoch: TypeAlias = Callable[[Subscription, int], bytes]
"""Names the subscription's new epoch, of which what comes behind the given `seq` follows."""
Spawn: TypeAlias = Callable[[Coroutine[None, None, None]], object]

CHUNKS_A_WAKE = 4  # then other readers have their turn


class Delivery:
    """Writes a subscription's messages, as `encode` frames them, and its gaps, as `encode_gap` does.

    When the log begins again, `encode_epoch` comes first, if there is one.
    """

    __slots__ = (
        "_encode", "_encode_epoch", "_encode_gap", "_epoch", "_is_catching_up", "_socket", "_spawn", "subscription",
    )  # fmt: skip

    def __init__(
        self,
        socket: DirectSocket,
        encode: Encode,
        encode_gap: EncodeGap,
        spawn: Spawn,
        encode_epoch: EncodeEpoch | None = None,
    ) -> None:
        self.subscription: Subscription | None = None
        self._epoch = ""  # that the client knows of
        self._socket = socket
        self._encode = encode
        self._encode_gap = encode_gap
        self._encode_epoch = encode_epoch
        self._spawn = spawn
        self._is_catching_up = False

    def start(self, subscription: Subscription) -> None:
        """Deliver this subscription from now on; the client knows its epoch."""
        self.subscription = subscription
        self._epoch = subscription.epoch

    def wake(self) -> None:
        """Write what is due and in memory; have the rest loaded."""
        subscription = self.subscription
        if self._is_catching_up or subscription is None:
            return
        socket = self._socket
        try:
            for _ in range(CHUNKS_A_WAKE):
                if not socket.is_writable:
                    return
                frames, is_more = subscription.chunk(self._encode)
                if frames:
                    socket.write(frames)
                if not is_more:
                    return
        except WouldBlock:
            pass
        self._is_catching_up = True
        self._spawn(self._catch_up(subscription))

    async def _catch_up(self, subscription: Subscription) -> None:
        try:
            while subscription.is_due and self._socket.is_writable:
                await self._write_next(subscription)
                await asyncio.sleep(0)  # a reader that catches up from memory must not keep the loop to itself
        except ChatkitError:
            # The room is compared with the store until that answers; then the subscription wakes this delivery.
            subscription.check()
        finally:
            self._is_catching_up = False

    async def _write_next(self, subscription: Subscription) -> None:
        try:
            frames, _ = subscription.chunk(self._encode)
        except WouldBlock:
            # A gap, or a message of a page that is loaded: the rest of the page is then in memory, for all readers.
            frames = self._frame(subscription, await subscription.read(1, wait=False))
        if frames:
            self._socket.write(frames)

    def _frame(self, subscription: Subscription, items: Sequence[Item]) -> bytes:
        """Frame what this reader alone gets: a gap or one message, behind the log's new epoch if it has one."""
        frames = [
            self._encode_gap(subscription, item) if isinstance(item, Gap) else self._encode(item) for item in items
        ]
        if subscription.epoch != self._epoch and not subscription.is_closed:
            self._epoch = subscription.epoch
            if self._encode_epoch is not None:
                n_messages = sum(isinstance(item, Message) for item in items)
                frames.insert(0, self._encode_epoch(subscription, subscription.position - n_messages))
        return b"".join(frames)

    def close(self) -> None:
        """Stop delivering."""
        if self.subscription is not None:
            self.subscription.close()
            self.subscription = None
