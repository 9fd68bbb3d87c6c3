"""One subscriber's place in one channel."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Message
from chatkit.errors import ChatkitError
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.events import Event, time_of
from chatkit.litestar.naming import room_of
from chatkit.litestar.payload import payload_of

if TYPE_CHECKING:
    from chatkit.core.subscription import Subscription


class ChannelCursor:
    """Where a subscriber stands in a channel: what it has of it, and how far it reads.

    `rung` is called with this cursor when there is something to read. `live_from` is the end of the past that was
    asked for; `until`, while it is set, is where reading ends.
    """

    __slots__ = (
        "_after",
        "_history",
        "_log",
        "_rung",
        "channel",
        "given",
        "is_pulling",
        "live_from",
        "subscription",
        "until",
    )

    def __init__(
        self,
        channel: str,
        rung: Callable[["ChannelCursor"], None],
        *,
        history: int = 0,
        after: Cursor | None = None,
    ) -> None:
        self.channel = channel
        self.subscription: Subscription | None = None  # None before the plugin's start, and after the end
        self.live_from = 0
        self.until: int | None = None
        self.is_pulling = False
        self._rung = rung
        self._history = history
        self._after = after
        self._log: LogChannelsBackend | None = None
        self.given: Cursor | Message | None = None  # the last event that was given, or is known to be had

    async def open(self, log: LogChannelsBackend) -> None:
        """Begin to read, from `after` on or from so many events before the end. Raise `Unavailable`."""
        history, after = self._history, self._after
        subscription = await log.hub.subscribe(room_of(self.channel), after=after, history=history, wake=self.ring)
        log.enter(subscription.room, self)
        self._log = log
        self.subscription = subscription
        self.live_from = max(subscription.head.last, subscription.position, log.last_of(self.channel))
        # What the past begins with is not known before it is read; without a past, nothing may be missing.
        self.given = None if history else after or subscription.cursor
        self.ring()

    def close(self) -> None:
        """Read no more."""
        subscription, self.subscription = self.subscription, None
        if subscription is not None and self._log is not None:
            subscription.close()
            self._log.leave(subscription.room, self)

    def ring(self) -> None:
        """Hear that there may be something to read."""
        if self.is_behind:
            self._rung(self)

    @property
    def position(self) -> int:
        """The number of the last event that was read."""
        return 0 if self.subscription is None else self.subscription.position

    @property
    def is_behind(self) -> bool:
        """Say whether there is something to read, as far as this process knows."""
        subscription = self.subscription
        if subscription is None or subscription.is_closed or subscription.is_at_head:
            return False
        return self.until is None or subscription.position < self.until

    @property
    def is_read(self) -> bool:
        """Say whether all up to `until` has been read."""
        subscription = self.subscription
        if subscription is None or subscription.is_closed:
            return True
        return not self.is_pulling and self.until is not None and subscription.position >= self.until

    @property
    def lag(self) -> int:
        """How many events there are beyond what was read."""
        subscription = self.subscription
        return 0 if subscription is None else max(subscription.head.last - subscription.position, 0)

    async def stop_at_head(self, hub: Hub) -> None:
        """Read no further than what is committed now."""
        subscription = self.subscription
        if subscription is None:
            return
        try:
            page = await hub.history(subscription.room, limit=1)
            self.until = page.head.last
            if page.head.last > subscription.head.last:
                subscription.check()
        except ChatkitError:  # the store is away: what this process knows of will do
            self.until = subscription.head.last

    def has_all(self) -> None:
        """Note that all that was read was given, by a way that does not note it."""
        if self.subscription is not None:
            self.given = self.subscription.cursor

    def event_of(self, message: Message) -> Event:
        """Make the event, and note that it was given. Called once for each message, in order."""
        given, self.given = self.given, message
        is_restart = given is not None and given.epoch != message.epoch
        return Event(
            payload_of(message),
            self.channel,
            message.seq,
            str(message.cursor),
            time_of(message),
            missed=0 if given is None or is_restart else message.seq - given.seq - 1,
            is_restart=is_restart,
        )


def starts(after: str | Mapping[str, str] | None, channels: list[str]) -> dict[str, Cursor]:
    """Read where each channel is to go on from. Raise `BadCursor`, or `ValueError` for one cursor of many channels."""
    if after is None:
        return {}
    if isinstance(after, str):
        if len(channels) != 1:
            raise ValueError("a cursor is a place in one channel: give a mapping of channels to cursors")
        return {channels[0]: Cursor.parse(after)}
    return {channel: Cursor.parse(cursor) for channel, cursor in after.items()}
