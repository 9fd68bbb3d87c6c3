"""Channels stored as rooms by one of chatkit's backends, with the interface of Litestar's backends."""

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
from chatkit.litestar.events import Published, draft_of, payload_of, room_of

ALL: Final = 1 << 31  # more events than any channel has
NOT_STARTED: Final = "Backend not yet initialized. Did you forget to call on_startup?"


class AbandonedChannels(set[str]):
    """Channels whose last subscriber has left. The application did not unsubscribe them, so their history is kept."""


class ChannelReader(Protocol):
    """A reader of a channel in this process."""

    @property
    def position(self) -> int:
        """The seq of the last event that it has read."""


class LogChannelsBackend(ChannelsBackend):
    """Channels in the store of a chatkit URL, or of the backend that `url` makes.

    `history` is the maximum number of events that `get_history` and `subscribe(history=)` return for a channel; None is
    all that are stored. The backend can be started again after a shutdown.
    """

    def __init__(self, url: str | Callable[[], Backend], *, history: int | None = None) -> None:
        self._open: Callable[[], Backend] = partial(open_backend, url) if isinstance(url, str) else url
        self._max_history = history
        self._hub: Hub | None = None
        self._channels: set[str] = set()
        self._readers: dict[str, set[ChannelReader]] = {}
        self._streams: dict[str, Subscription] = {}
        self._ready: dict[str, None] = {}  # channels with events that `stream_events` has not delivered yet
        self._has_ready = asyncio.Event()
        self._is_streamed = False  # `stream_events` has a reader
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
        self._has_ready = asyncio.Event()
        async with AsyncExitStack() as stack:
            backend = await stack.enter_async_context(self._open())
            self._hub = await stack.enter_async_context(Hub(backend))
            stack.callback(self._forget_hub)
            for channel in self._channels:
                await self._open_stream(channel)
            self._stack = stack.pop_all()

    async def on_shutdown(self) -> None:
        """Commit the submitted events, and close the store."""
        await self._stack.aclose()

    def _forget_hub(self) -> None:
        self._hub = None
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.close()
        self._ready.clear()
        self._has_ready.set()  # ends the readers that wait for events

    def add_reader(self, room: str, reader: ChannelReader) -> None:
        """Register a reader of a room."""
        self._readers.setdefault(room, set()).add(reader)

    def remove_reader(self, room: str, reader: ChannelReader) -> None:
        """Remove a reader of a room."""
        readers = self._readers.get(room, set())
        readers.discard(reader)
        if not readers:
            self._readers.pop(room, None)

    def slowest_position(self, room: str) -> int | None:
        """Return the seq up to which all readers of a room have read; None if the room has no reader."""
        positions = [reader.position for reader in self._readers.get(room, ())]
        if self._is_streamed:
            positions += [stream.position for stream in self._streams.values() if stream.room == room]
        return min(positions, default=None)

    async def publish(self, data: bytes, channels: Iterable[str]) -> list[Published]:  # type: ignore[override]  # None
        """Commit an event in each channel. Return when all are durable. Raise `Unavailable` or `StoreError`."""
        hub, names = self.hub, list(channels)
        receipts = await asyncio.gather(*(hub.publish(draft_of(room_of(name), data)) for name in names))
        return [Published.of(name, receipt.message) for name, receipt in zip(names, receipts, strict=True)]

    def submit(self, data: bytes, channel: str, settle: Settle) -> None:
        """Submit an event for commit, without waiting. Raise `Unavailable` if the backend accepts no events."""
        self.hub.submit(draft_of(room_of(channel), data), settle)

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Deliver these channels' events to `stream_events` from now on."""
        for channel in channels:
            self._channels.add(channel)
            if self._hub is not None and channel not in self._streams:
                await self._open_stream(channel)

    async def _open_stream(self, channel: str) -> None:
        def wake() -> None:
            if channel in self._streams:  # a closed subscription also calls this
                self._ready[channel] = None
                self._has_ready.set()

        self._streams[channel] = await self.hub.subscribe(room_of(channel), wake=wake)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Stop delivering these channels' events to `stream_events`."""
        for channel in channels:
            self._channels.discard(channel)
            if stream := self._streams.pop(channel, None):
                stream.close()
            self._ready.pop(channel, None)

    async def stream_events(self) -> AsyncGenerator[tuple[str, bytes], None]:
        """Iterate over the events of the subscribed channels, as they arrive."""
        self._is_streamed = True
        while True:
            self.hub  # noqa: B018  # raises before the start and after the end
            if not self._ready:
                self._has_ready.clear()
                await self._has_ready.wait()
                continue
            channel = next(iter(self._ready))
            del self._ready[channel]
            for item in await _read_one(self._streams[channel]):
                if isinstance(item, Message):
                    yield channel, payload_of(item)
            stream = self._streams.get(channel)
            if stream is not None and stream.is_due:
                self._ready[channel] = None

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return the newest events of a channel, at most `limit`; all stored events if it is negative or None."""
        n_events = self.history_limit(limit)
        if not n_events:
            return []
        page = await self.hub.history(room_of(channel), limit=n_events)
        return [payload_of(message) for message in page.messages]

    def start_cursor(self, channel: str, history: int) -> Cursor | None:  # noqa: ARG002  # a subclass uses it
        """Return the cursor at which a subscriber with this much history starts; None to let the hub decide."""
        return None

    def last_seq(self, channel: str) -> int:  # noqa: ARG002  # the same
        """Return the seq of the newest event, if it may be newer than the hub knows; else 0."""
        return 0

    def history_limit(self, limit: int | None) -> int:
        """Return the number of events that a reader who requests `limit` receives."""
        most = ALL if self._max_history is None else self._max_history
        return most if limit is None or limit < 0 else min(limit, most)


async def _read_one(stream: Subscription) -> Sequence[Item]:
    """Read one item. A store that does not answer must not end the reader, which is woken when the store answers."""
    try:
        return await stream.read(1, wait=False)
    except ChatkitError:
        stream.check()
        return ()


class SqliteChannelsBackend(LogChannelsBackend):
    """Channels in an SQLite file, for the processes of one machine. The default `path` is in the user's data folder.

    With `synchronous="full"`, a published event survives a power failure; with `"normal"`, a killed process.
    """

    def __init__(
        self, path: str | PathLike[str] | None = None, *, history: int | None = None, synchronous: str = "normal"
    ) -> None:
        location = "" if path is None else "/" + quote(str(path))
        super().__init__(f"sqlite://{location}?synchronous={synchronous}", history=history)
