"""Delivery: writes the messages of one subscription to one socket whenever it is woken, until the socket is full.

While the socket is full, nothing is written or buffered: the subscription's position says what to write later.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from chatkit.core.model import Gap, Message
from chatkit.core.segment import Encode
from chatkit.core.subscription import Item, Subscription, WouldBlock
from chatkit.core.tasks import Spawn
from chatkit.errors import ChatkitError
from chatkit.websocket.direct import DirectSocket

EncodeGap: TypeAlias = Callable[[Subscription, Gap], bytes]
EncodeEpoch: TypeAlias = Callable[[Subscription, int], bytes]
"""Encodes the subscription's new epoch. The messages of that epoch after the given `seq` follow."""

CHUNKS_A_WAKE = 4  # then the other readers are served


class Delivery:
    """Writes a subscription's messages, framed by `encode`, and its gaps, framed by `encode_gap`.

    When the log starts again, the frame of `encode_epoch`, if it is given, is written first.
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
        self._epoch = ""  # the epoch that the client knows
        self._socket = socket
        self._encode = encode
        self._encode_gap = encode_gap
        self._encode_epoch = encode_epoch
        self._spawn = spawn
        self._is_catching_up = False

    def start(self, subscription: Subscription) -> None:
        """Start to deliver the subscription. The client knows its epoch."""
        self.subscription = subscription
        self._epoch = subscription.epoch

    def wake(self) -> None:
        """Write the due messages that are in memory, and start to load the others."""
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
                await asyncio.sleep(0)  # a reader that catches up from memory must not block the event loop
        except ChatkitError:
            # The room is compared with the store until the store answers. Then this delivery is woken.
            subscription.check()
        finally:
            self._is_catching_up = False

    async def _write_next(self, subscription: Subscription) -> None:
        try:
            frames, _ = subscription.chunk(self._encode)
        except WouldBlock:
            # A gap, or a message of a page that is loaded now. The rest of the page is then in memory for all readers.
            frames = self._frame(subscription, await subscription.read(1, wait=False))
        if frames:
            self._socket.write(frames)

    def _frame(self, subscription: Subscription, items: Sequence[Item]) -> bytes:
        """Return the frames for a gap or one message, after the frame of the log's epoch if that has changed."""
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
