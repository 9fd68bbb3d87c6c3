"""One room on its way to one socket: when the bell rings, what is due is written, as far as the socket takes it.

A socket that is full is left where it is; the subscription stands for what it has not had.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import TypeAlias

from chatkit.core.model import Gap, Message
from chatkit.core.segment import Encode
from chatkit.core.subscription import Item, Subscription
from chatkit.errors import ChatkitError
from chatkit.websocket.direct import DirectSocket

EncodeGap: TypeAlias = Callable[[Subscription, Gap], bytes]
EncodeEpoch: TypeAlias = Callable[[Subscription, int], bytes]
"""Names the subscription's new epoch, of which what comes behind the given `seq` follows."""
Spawn: TypeAlias = Callable[[Coroutine[None, None, None]], object]

CATCH_UP_MESSAGES = 128  # read from the store at once for one reader that is far behind
CHUNKS_A_RING = 4  # then others have their turn
SLICE_BYTES = 1 << 16  # after this much, such a reader's socket is asked whether it takes more


class Delivery:
    """Writes a subscription's messages, as `encode` frames them, and its gaps, as `encode_gap` does.

    When the log begins again, `encode_epoch` comes first, if there is one.
    """

    __slots__ = (
        "_encode", "_encode_epoch", "_encode_gap", "_epoch", "_is_fetching", "_socket", "_spawn", "subscription",
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
        self._is_fetching = False

    def start(self, subscription: Subscription) -> None:
        """Deliver this subscription from now on; the client knows its epoch."""
        self.subscription = subscription
        self._epoch = subscription.epoch

    def ring(self) -> None:
        """Write what is due and at hand; have fetched what is not."""
        subscription = self.subscription
        if self._is_fetching or subscription is None:
            return
        socket = self._socket
        for _ in range(CHUNKS_A_RING):
            if not socket.is_writable:
                return
            frames = subscription.take(self._encode)
            if frames:
                socket.write(frames)
                if subscription.position == subscription.feed.last:
                    return
            elif frames is None:
                break
            else:
                return
        self._is_fetching = True
        self._spawn(self._catch_up(subscription))

    async def _catch_up(self, subscription: Subscription) -> None:
        try:
            while self._socket.is_writable and await self._write_next(subscription):
                pass
        except ChatkitError:
            # The room's feed is checked until the store answers, and rings then.
            subscription.check()
            return
        finally:
            self._is_fetching = False
        if subscription.is_due:
            self.ring()

    async def _write_next(self, subscription: Subscription) -> bool:
        """Write a chunk that all share, or else what this reader alone is owed; say whether there was any."""
        if await subscription.load() and (frames := subscription.take(self._encode)) is not None:
            if frames:
                self._socket.write(frames)
            return bool(frames)
        items = await subscription.fetch(CATCH_UP_MESSAGES)
        if subscription.epoch != self._epoch:
            self._write_epoch(subscription, items)
        self._write_slices(subscription, items)
        return bool(items)

    def _write_epoch(self, subscription: Subscription, items: Sequence[Item]) -> None:
        self._epoch = subscription.epoch
        if self._encode_epoch is not None:
            first = items[0] if items else None
            start = first.seq - 1 if isinstance(first, Message) else subscription.position
            self._socket.write(self._encode_epoch(subscription, start))

    def _write_slices(self, subscription: Subscription, items: Sequence[Item]) -> None:
        frames: list[bytes] = []
        size = 0
        for item in items:
            frame = self._encode_gap(subscription, item) if isinstance(item, Gap) else self._encode(item)
            frames.append(frame)
            size += len(frame)
            if size >= SLICE_BYTES and not isinstance(item, Gap):
                self._socket.write(b"".join(frames))
                frames.clear()
                size = 0
                if not self._socket.is_writable:
                    # What the socket did not take is read again when it does: only the position is kept.
                    subscription.position = item.seq
                    return
        if frames:
            self._socket.write(b"".join(frames))

    def close(self) -> None:
        """Deliver no more."""
        if self.subscription is not None:
            self.subscription.close()
            self.subscription = None
