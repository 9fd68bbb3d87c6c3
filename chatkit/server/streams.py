"""A room as a stream over HTTP: server-sent events whose ids are cursors, or lines of JSON."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

import msgspec

from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Message
from chatkit.core.signals import Signal, StoreAvailable, StoreUnavailable
from chatkit.core.subscription import Item
from chatkit.errors import Unavailable
from chatkit.session.formats import with_cursor
from chatkit.session.session import StartPosition
from chatkit.wire.protocol import ErrorEvent, RestoredEvent, WireGap, encode, error_event, message_json

HEARTBEAT_S = 15.0  # proxies cut a silent stream after 30 to 60 seconds; a client gives up after two missed beats
RECONNECT_MS = 1_000
FETCH_MESSAGES = 64  # held for a reader that does not keep up: a few megabytes at the largest size
SLICE_BYTES = 1 << 16  # written at once; then the stream waits until the reader has caught up
MAX_STATUS_EVENTS = 2  # a reader that stalls through many outages gets only the last two changes


class StreamFormat(msgspec.Struct, frozen=True):
    """How a stream is written: its first event, its items, its heartbeat, and changes of the store's availability."""

    media_type: str
    first: Callable[[Cursor], bytes]
    heartbeat: Callable[[Cursor], bytes]
    item: Callable[[Item, str], bytes]
    status: Callable[[ErrorEvent | RestoredEvent], bytes]


def _cursor_of(item: Item, epoch: str) -> Cursor:
    # A stream that is cut off right after a gap resumes after the gap.
    return item.cursor if isinstance(item, Message) else Cursor(epoch, item.before - 1)


def _sse_item(item: Item, epoch: str) -> bytes:
    cursor = str(_cursor_of(item, epoch)).encode()
    if isinstance(item, Message):
        return b"id: %s\ndata: %s\n\n" % (cursor, message_json(item))
    return b"event: gap\nid: %s\ndata: %s\n\n" % (cursor, encode(WireGap.of(item)))


def json_line(item: Item, epoch: str) -> bytes:
    """Return a message or a gap as a line of JSON, with the cursor from which to read on."""
    encoded = message_json(item) if isinstance(item, Message) else encode(WireGap.of(item))
    return with_cursor(encoded, _cursor_of(item, epoch)) + b"\n"


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


EVENT_STREAM = StreamFormat("text/event-stream", _sse_first, _sse_ping, _sse_item, _sse_status)
JSON_LINES = StreamFormat("application/x-ndjson", _json_ping, _json_ping, json_line, _json_status)


async def begin(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the whole stream, after its first event was produced. An error before that can still set the status."""
    first = await anext(events)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for event in events:
            yield event

    return whole()


async def stream(
    hub: Hub, room: str, start: StartPosition, history: int, form: StreamFormat
) -> AsyncGenerator[bytes, None]:
    """Yield the events of a room from `start` on, until the client disconnects or the server stops."""
    woken = asyncio.Event()  # set when there is something to read or a status to send
    statuses: list[bytes] = []

    def on_signal(signal: Signal) -> None:
        match signal:
            case StoreUnavailable(reason):
                statuses.append(form.status(error_event(Unavailable(f"the store is unavailable: {reason}"))))
            case StoreAvailable():
                statuses.append(form.status(RestoredEvent()))
            case _:
                return  # a stream carries no other signals
        del statuses[:-MAX_STATUS_EVENTS]
        woken.set()

    subscription = await hub.subscribe(room, after=start.after, history=history, wake=woken.set, on_signal=on_signal)
    with subscription:
        yield form.first(subscription.cursor)
        while not subscription.is_closed:
            woken.clear()
            if statuses:
                joined = b"".join(statuses)
                statuses.clear()  # before the yield, during which more may be added
                yield joined
            elif items := await subscription.read(FETCH_MESSAGES, wait=False):
                for part in _slices(form.item(item, subscription.epoch) for item in items):
                    yield part
            elif not subscription.is_due and not await _is_woken(woken):
                yield form.heartbeat(subscription.cursor)


async def _is_woken(woken: asyncio.Event) -> bool:
    """Wait for the event. Return False if it is time for a heartbeat."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await woken.wait()
    except TimeoutError:
        return False
    return True


def _slices(written: Iterable[bytes]) -> Iterator[bytes]:
    """Join items into slices of at most `SLICE_BYTES`. A larger item is a slice of its own."""
    part: list[bytes] = []
    n_bytes = 0
    for item in written:
        if part and n_bytes + len(item) > SLICE_BYTES:
            yield b"".join(part)
            part, n_bytes = [], 0
        part.append(item)
        n_bytes += len(item)
    yield b"".join(part)
