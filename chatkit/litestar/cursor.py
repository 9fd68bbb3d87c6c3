"""One subscriber's position in one channel."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Message
from chatkit.errors import ChatkitError
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.events import Event, payload_of, room_of, time_of

if TYPE_CHECKING:
    from chatkit.core.subscription import Subscription


class ChannelCursor:
    """A subscriber's position in a channel.

    `on_ready` is called with this cursor when there are events to read. `live_from` is the last seq of the requested
    history; `until`, while it is set, is the seq at which reading ends.
    """

    __slots__ = (
        "_after",
        "_history",
        "_log",
        "_on_ready",
        "channel",
        "delivered",
        "is_pulling",
        "live_from",
        "subscription",
        "until",
    )

    def __init__(
        self,
        channel: str,
        on_ready: Callable[["ChannelCursor"], None],
        *,
        history: int = 0,
        after: Cursor | None = None,
    ) -> None:
        self.channel = channel
        self.subscription: Subscription | None = None  # None before the plugin's start, and after `close`
        self.live_from = 0
        self.until: int | None = None
        self.is_pulling = False
        self._on_ready = on_ready
        self._history = history
        self._after = after
        self._log: LogChannelsBackend | None = None
        self.delivered: Cursor | Message | None = None  # the last event that the subscriber has

    async def open(self, log: LogChannelsBackend) -> None:
        """Start reading after `after`, or `history` events before the end. Raise `Unavailable`."""
        history, after = self._history, self._after
        subscription = await log.hub.subscribe(room_of(self.channel), after=after, history=history, wake=self.wake)
        log.add_reader(subscription.room, self)
        self._log = log
        self.subscription = subscription
        self.live_from = max(subscription.head.last, subscription.position, log.last_seq(self.channel))
        # The first event of the history is not known before it is read; without a history, no event may be missing.
        self.delivered = None if history else after or subscription.cursor
        self.wake()

    def close(self) -> None:
        """Stop reading."""
        subscription, self.subscription = self.subscription, None
        if subscription is not None and self._log is not None:
            subscription.close()
            self._log.remove_reader(subscription.room, self)

    def wake(self) -> None:
        """Call `on_ready` if there are events to read."""
        if self.is_behind:
            self._on_ready(self)

    @property
    def position(self) -> int:
        """The seq of the last event that was read."""
        return 0 if self.subscription is None else self.subscription.position

    @property
    def is_behind(self) -> bool:
        """Whether there are events to read, as far as this process knows."""
        subscription = self.subscription
        if subscription is None or subscription.is_closed or subscription.is_at_head:
            return False
        return self.until is None or subscription.position < self.until

    @property
    def is_read(self) -> bool:
        """Whether every event up to `until` has been read."""
        subscription = self.subscription
        if subscription is None or subscription.is_closed:
            return True
        return not self.is_pulling and self.until is not None and subscription.position >= self.until

    @property
    def lag(self) -> int:
        """The number of events that are not read yet."""
        subscription = self.subscription
        return 0 if subscription is None else max(subscription.head.last - subscription.position, 0)

    async def stop_at_head(self, hub: Hub) -> None:
        """Stop reading after the events that are committed now."""
        subscription = self.subscription
        if subscription is None:
            return
        try:
            page = await hub.history(subscription.room, limit=1)
            self.until = page.head.last
            if page.head.last > subscription.head.last:
                subscription.check()
        except ChatkitError:  # the store is unavailable: stop after the events that this process knows
            self.until = subscription.head.last

    def mark_delivered(self) -> None:
        """Mark all events that were read as delivered. The direct path does not mark each one."""
        if self.subscription is not None:
            self.delivered = self.subscription.cursor

    def make_event(self, message: Message) -> Event:
        """Make the event of a message, and mark it as delivered. Called once for each message, in order."""
        before, self.delivered = self.delivered, message
        is_restart = before is not None and before.epoch != message.epoch
        return Event(
            payload_of(message),
            self.channel,
            message.seq,
            str(message.cursor),
            time_of(message),
            missed=0 if before is None or is_restart else message.seq - before.seq - 1,
            is_restart=is_restart,
        )


def parse_cursors(after: str | Mapping[str, str] | None, channels: list[str]) -> dict[str, Cursor]:
    """Return the cursor of each channel. Raise `BadCursor`, or `ValueError` for one cursor with several channels."""
    if after is None:
        return {}
    if isinstance(after, str):
        if len(channels) != 1:
            raise ValueError("a cursor is a position in one channel: pass a mapping of channels to cursors")
        return {channels[0]: Cursor.parse(after)}
    return {channel: Cursor.parse(cursor) for channel, cursor in after.items()}
