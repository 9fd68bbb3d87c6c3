"""A room as a stream over HTTP: server-sent events whose ids are cursors, or lines of JSON."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Self

import msgspec

from chatkit.core.access import Identity, Right
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.segment import Encode
from chatkit.core.signals import RoomChanged, Signal, StoreAvailable, StoreUnavailable
from chatkit.core.subscription import Item, Subscription, WouldBlock
from chatkit.errors import ChatkitError, Unavailable
from chatkit.session.context import StartPosition
from chatkit.session.formats import with_cursor
from chatkit.wire.protocol import ErrorEvent, RestoredEvent, WireGap, encode, error_event, message_json

HEARTBEAT_S = 15.0  # proxies cut a silent stream after 30 to 60 seconds; a client gives up after two missed beats
RECONNECT_MS = 1_000
SLICE_BYTES = 1 << 16  # written at once; then the stream waits until the reader has caught up
MAX_STATUS_EVENTS = 2  # a reader that stalls through many outages gets only the last two changes


class StreamFormat(msgspec.Struct, frozen=True):
    """How a stream is written: its first event, its items, its heartbeat, and changes of the store's availability.

    All readers of a room share the events of its messages. `end` ends each event, and occurs nowhere else.
    """

    media_type: str
    end: bytes
    first: Callable[[Cursor], bytes]
    heartbeat: Callable[[Cursor], bytes]
    message: Encode
    gap: Callable[[Gap, str], bytes]
    status: Callable[[ErrorEvent | RestoredEvent], bytes]

    def item(self, item: Item, epoch: str) -> bytes:
        """Return the event of a message or a gap."""
        return self.message(item) if isinstance(item, Message) else self.gap(item, epoch)


def _cursor_after(gap: Gap, epoch: str) -> Cursor:
    # A stream that is cut off right after a gap resumes after the gap.
    return Cursor(epoch, gap.before - 1)


def _sse_message(message: Message) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (str(message.cursor).encode(), message_json(message))


def _sse_gap(gap: Gap, epoch: str) -> bytes:
    return b"event: gap\nid: %s\ndata: %s\n\n" % (str(_cursor_after(gap, epoch)).encode(), encode(WireGap.of(gap)))


def message_line(message: Message) -> bytes:
    """Return a message as a line of JSON, with the cursor from which to read on."""
    return with_cursor(message_json(message), message.cursor) + b"\n"


def gap_line(gap: Gap, epoch: str) -> bytes:
    """Return a gap as a line of JSON, with the cursor from which to read on."""
    return with_cursor(encode(WireGap.of(gap)), _cursor_after(gap, epoch)) + b"\n"


def _sse_ping(cursor: Cursor) -> bytes:
    # Not a comment: `EventSource` hides comments from the page, which could not tell a quiet stream from a dead one.
    position = str(cursor).encode()
    return b'event: ping\nid: %s\ndata: {"type":"ping","cursor":"%s"}\n\n' % (position, position)


def _sse_first(cursor: Cursor) -> bytes:
    # Together with an event: some clients read a block that has only `retry` as an event without data.
    return b"retry: %d\n" % RECONNECT_MS + _sse_ping(cursor)


def _json_ping(cursor: Cursor) -> bytes:
    return b'{"type":"ping","cursor":"%s"}\n' % str(cursor).encode()


def _sse_status(event: ErrorEvent | RestoredEvent) -> bytes:
    # The event is not named "error": browsers use that name for a lost connection.
    name = b"restored" if isinstance(event, RestoredEvent) else event.code.encode()
    return b"event: %s\ndata: %s\n\n" % (name, encode(event))


def _json_status(event: ErrorEvent | RestoredEvent) -> bytes:
    return encode(event) + b"\n"


EVENT_STREAM = StreamFormat("text/event-stream", b"\n\n", _sse_first, _sse_ping, _sse_message, _sse_gap, _sse_status)
JSON_LINES = StreamFormat("application/x-ndjson", b"\n", _json_ping, _json_ping, message_line, gap_line, _json_status)


async def begin(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the whole stream, after its first event was produced. An error before that can still set the status."""
    first = await anext(events)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for event in events:
            yield event

    return whole()


class StreamClient:
    """The client of one stream: its rights, and the events for it beside messages."""

    def __init__(self, hub: Hub, identity: Identity, room: str, form: StreamFormat) -> None:
        self.identity = identity
        self.error: ChatkitError | None = None  # why the stream ends: the client may not read the room any more
        self.woken = asyncio.Event()  # set when there is something to read or to report, or the stream has to end
        self._hub = hub
        self._room = room
        self._form = form
        self._is_open = False
        self._statuses: list[bytes] = []

    def __enter__(self) -> Self:
        self._is_open = True
        self.on_access_changed()  # it may have changed between the check of the request and now
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        self._hub.access.watchers.discard(self)

    def on_access_changed(self) -> None:
        """Use the current rights, and stay registered for their next change."""
        if not self._is_open:
            return
        access, now_ms = self._hub.access, self._hub.now_ms()
        try:
            self.identity = access.renew(self.identity, now_ms)
            access.check(self.identity, Right.READ, self._room, now_ms)
        except Unavailable:  # the room is being renamed, and the next change says to what
            access.watchers.add(self)
        except ChatkitError as error:
            self.error = error
            self.woken.set()
        else:
            access.watchers.add(self)

    def on_signal(self, signal: Signal) -> None:
        """Report whether the store is available, and end if the room was renamed. A stream carries no other signals."""
        match signal:
            case StoreUnavailable(reason):
                self._statuses.append(
                    self._form.status(error_event(Unavailable(f"the store is unavailable: {reason}")))
                )
            case StoreAvailable():
                self._statuses.append(self._form.status(RestoredEvent()))
            case RoomChanged():
                self.on_access_changed()
                return
            case _:
                return
        del self._statuses[:-MAX_STATUS_EVENTS]
        self.woken.set()

    def pop_statuses(self) -> bytes:
        """Return the events that were not sent yet, and forget them."""
        statuses, self._statuses = self._statuses, []
        return b"".join(statuses)


async def stream(
    hub: Hub, identity: Identity, room: str, start: StartPosition, form: StreamFormat
) -> AsyncGenerator[bytes, None]:
    """Yield the events of a room from `start` on, until the client disconnects or the server stops.

    If the client loses the right to read the room, or the room is renamed, the stream ends after an event with the
    error.
    """
    with StreamClient(hub, identity, room, form) as client:
        subscription = await hub.subscribe(
            room, after=start.after, history=start.history or 0, wake=client.woken.set, on_signal=client.on_signal
        )
        with subscription:
            async with aclosing(_events(subscription, client, form)) as events:
                async for event in events:
                    yield event
        if client.error is not None:
            yield form.status(error_event(client.error))


async def _events(subscription: Subscription, client: StreamClient, form: StreamFormat) -> AsyncGenerator[bytes, None]:
    if client.error is None:
        yield form.first(subscription.cursor)
    while not subscription.is_closed and client.error is None:
        client.woken.clear()
        if statuses := client.pop_statuses():
            yield statuses
        elif events := await _next_events(subscription, form):
            for part in _slices(events, form.end):
                if client.error is None:
                    yield part
            if subscription.is_due:
                await asyncio.sleep(0)  # a reader that catches up from memory must not block the event loop
        elif not subscription.is_due and not await _is_woken(client.woken):
            yield form.heartbeat(subscription.cursor)


async def _next_events(subscription: Subscription, form: StreamFormat) -> bytes:
    """Return the next events, joined; nothing if none is due."""
    try:
        return subscription.chunk(form.message)[0]
    except WouldBlock:
        # A gap, or a message of a page that is loaded now. The rest of the page is then in memory for all readers.
        items = await subscription.read(1, wait=False)
    events = [form.item(item, subscription.epoch) for item in items]
    with suppress(WouldBlock):  # now: a slow reader would find that others have replaced the page
        events.append(subscription.chunk(form.message)[0])
    return b"".join(events)


async def _is_woken(woken: asyncio.Event) -> bool:
    """Wait for the event. Return False if it is time for a heartbeat."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await woken.wait()
    except TimeoutError:
        return False
    return True


def _slices(events: bytes, end: bytes) -> Iterator[bytes]:
    """Yield joined events in slices of at most `SLICE_BYTES` that end with an event; a larger event is one slice."""
    start = 0
    while len(events) - start > SLICE_BYTES:
        found = events.rfind(end, start, start + SLICE_BYTES)
        if found < 0:
            found = events.index(end, start + SLICE_BYTES - len(end))
        yield events[start : found + len(end)]
        start = found + len(end)
    if start < len(events):
        yield events[start:]
