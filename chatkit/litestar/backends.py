"""Channels kept as rooms by a backend of chatkit's, behind the methods that a backend of Litestar's has."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from os import PathLike
from typing import Final, Protocol
from urllib.parse import quote

from litestar.channels import ChannelsBackend

from chatkit.backends import open_backend
from chatkit.core.backend import Backend
from chatkit.core.group_commit import Settle
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Message
from chatkit.core.subscription import Item, Subscription
from chatkit.errors import ChatkitError
from chatkit.litestar.events import Published
from chatkit.litestar.naming import room_of
from chatkit.litestar.payload import draft_of, payload_of

ALL: Final = 1 << 31  # more events than any channel has
NOT_STARTED: Final = "Backend not yet initialized. Did you forget to call on_startup?"


class AbandonedChannels(set[str]):
    """Channels that the last subscriber has left. Those that are unsubscribed from by hand may lose their history."""


class ChannelReader(Protocol):
    """One who reads a channel here."""

    @property
    def position(self) -> int:
        """The number of the last event that it has."""


class LogChannelsBackend(ChannelsBackend):
    """Channels in the store that a chatkit URL names, or that `url` opens.

    `history` is how many events of a channel `get_history` and `subscribe(history=)` go back at most; None is all that
    the store keeps. It may be started again after a shutdown.
    """

    def __init__(self, url: str | Callable[[], Backend], *, history: int | None = None) -> None:
        self._open: Callable[[], Backend] = partial(open_backend, url) if isinstance(url, str) else url
        self._max_history = history
        self._hub: Hub | None = None
        self._channels: set[str] = set()
        self._readers: dict[str, set[ChannelReader]] = {}
        self._taps: dict[str, Subscription] = {}
        self._rung: dict[str, None] = {}  # channels with events that `stream_events` did not give yet
        self._is_rung = asyncio.Event()
        self._is_streamed = False  # somebody reads `stream_events`
        self._stack = AsyncExitStack()

    @property
    def is_shared(self) -> bool:
        """Whether other processes may use the same store."""
        return self._open().shared

    @property
    def hub(self) -> Hub:
        """The rooms of this process; raise `RuntimeError` before `on_startup`."""
        if self._hub is None:
            raise RuntimeError(NOT_STARTED)
        return self._hub

    async def on_startup(self) -> None:
        """Open the store. Raise `BadBackendURL`, `StoreError` or `Unavailable`."""
        if self._hub is not None:
            return
        self._is_rung = asyncio.Event()
        async with AsyncExitStack() as stack:
            backend = await stack.enter_async_context(self._open())
            self._hub = await stack.enter_async_context(Hub(backend))
            stack.callback(self._forget_hub)
            for channel in self._channels:
                await self._tap(channel)
            self._stack = stack.pop_all()

    async def on_shutdown(self) -> None:
        """Commit what was taken, and close the store."""
        await self._stack.aclose()

    def _forget_hub(self) -> None:
        self._hub = None
        taps, self._taps = self._taps, {}
        for tap in taps.values():
            tap.close()
        self._rung.clear()
        self._is_rung.set()  # who waits for events finds that there are no more

    def enter(self, room: str, reader: ChannelReader) -> None:
        """Know that a room is read, and by whom."""
        self._readers.setdefault(room, set()).add(reader)

    def leave(self, room: str, reader: ChannelReader) -> None:
        """Know that somebody reads no more."""
        readers = self._readers.get(room, set())
        readers.discard(reader)
        if not readers:
            self._readers.pop(room, None)

    def slowest_in(self, room: str) -> int | None:
        """Return the number of the last event that all who read a room have; None where nobody reads it."""
        positions = [reader.position for reader in self._readers.get(room, ())]
        if self._is_streamed:
            positions += [tap.position for tap in self._taps.values() if tap.room == room]
        return min(positions, default=None)

    async def publish(self, data: bytes, channels: Iterable[str]) -> list[Published]:  # type: ignore[override]  # None
        """Commit an event in each channel; return when they are durable. Raise `Unavailable` or `StoreError`."""
        hub, names = self.hub, list(channels)
        receipts = await asyncio.gather(*(hub.publish(draft_of(room_of(name), data)) for name in names))
        return [Published.of(name, receipt.message) for name, receipt in zip(names, receipts, strict=True)]

    def submit(self, data: bytes, channel: str, settle: Settle) -> None:
        """Have an event committed soon. Raise `Unavailable` where none can be taken."""
        self.hub.submit(draft_of(room_of(channel), data), settle)

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Have `stream_events` give these channels' events from now on."""
        for channel in channels:
            self._channels.add(channel)
            if self._hub is not None and channel not in self._taps:
                await self._tap(channel)

    async def _tap(self, channel: str) -> None:
        def ring() -> None:
            if channel in self._taps:  # one that is closed rings, too
                self._rung[channel] = None
                self._is_rung.set()

        self._taps[channel] = await self.hub.subscribe(room_of(channel), wake=ring)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Have `stream_events` give no more events of these channels."""
        for channel in channels:
            self._channels.discard(channel)
            if tap := self._taps.pop(channel, None):
                tap.close()
            self._rung.pop(channel, None)

    async def stream_events(self) -> AsyncGenerator[tuple[str, bytes], None]:
        """Iterate over the events of the channels that were subscribed to, as they come."""
        self._is_streamed = True
        while True:
            self.hub  # noqa: B018  # raises before the start and after the end
            if not self._rung:
                self._is_rung.clear()
                await self._is_rung.wait()
                continue
            channel = next(iter(self._rung))
            del self._rung[channel]
            for item in await _next_of(self._taps[channel]):
                if isinstance(item, Message):
                    yield channel, payload_of(item)
            tap = self._taps.get(channel)
            if tap is not None and tap.is_due:
                self._rung[channel] = None

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return the newest events of a channel, at most `limit`; all that are kept, where that is None or negative."""
        n_events = self.history_limit(limit)
        if not n_events:
            return []
        page = await self.hub.history(room_of(channel), limit=n_events)
        return [payload_of(message) for message in page.messages]

    def start_of(self, channel: str, history: int) -> Cursor | None:  # noqa: ARG002  # a subclass's, that knows more
        """Return where a subscriber with so much history begins; None where the hub knows that best."""
        return None

    def last_of(self, channel: str) -> int:  # noqa: ARG002  # the same
        """Return the number of the newest event, where it may be newer than the hub knows."""
        return 0

    def history_limit(self, limit: int | None) -> int:
        """Return how many events a reader gets who asks for so many."""
        most = ALL if self._max_history is None else self._max_history
        return most if limit is None or limit < 0 else min(limit, most)


async def _next_of(tap: Subscription) -> Sequence[Item]:
    """Fetch one item. A store that does not answer must not end who reads: the bell rings when it does again."""
    try:
        return await tap.read(1, wait=False)
    except ChatkitError:
        tap.check()
        return ()


class SqliteChannelsBackend(LogChannelsBackend):
    """Channels in an SQLite file, for the processes of one machine; without a `path`, in the user's data folder.

    With `synchronous="full"` a published event survives a power cut, with `"normal"` a killed process.
    """

    def __init__(
        self, path: str | PathLike[str] | None = None, *, history: int | None = None, synchronous: str = "normal"
    ) -> None:
        place = "" if path is None else "/" + quote(str(path))
        super().__init__(f"sqlite://{place}?synchronous={synchronous}", history=history)
