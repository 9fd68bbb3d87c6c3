"""A room as a stream over HTTP: server-sent events, whose ids are cursors, and JSON lines."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

import msgspec

from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Message
from chatkit.core.signals import Signal, StoreAvailable, StoreUnavailable
from chatkit.core.subscription import Item
from chatkit.errors import Unavailable
from chatkit.session.session import StartPosition
from chatkit.wire.protocol import ErrorEvent, RestoredEvent, WireGap, encode, error_event, message_json

HEARTBEAT_S = 15.0  # proxies cut a silent stream after 30 to 60 seconds, and clients miss two within 40
RECONNECT_MS = 1_000
FETCH_MESSAGES = 64  # what is held at once for a reader who stops reading; the largest make some megabytes
SLICE_BYTES = 1 << 16  # what is written at once: behind it, the stream waits for a reader who does not keep up


class StreamFormat(msgspec.Struct, frozen=True):
    """How a stream is written: its first event, its items, its heartbeat, and what happens to the store."""

    media_type: str
    opening: Callable[[Cursor], bytes]
    heartbeat: Callable[[Cursor], bytes]
    write: Callable[[Item, str], bytes]
    tell: Callable[[ErrorEvent | RestoredEvent], bytes]


def _cursor_of(item: Item, epoch: str) -> Cursor:
    # A stream cut off right behind a gap goes on behind it.
    return item.cursor if isinstance(item, Message) else Cursor(epoch, item.before - 1)


def _sse(item: Item, epoch: str) -> bytes:
    cursor = str(_cursor_of(item, epoch)).encode()
    if isinstance(item, Message):
        return b"id: %s\ndata: %s\n\n" % (cursor, message_json(item))
    return b"event: gap\nid: %s\ndata: %s\n\n" % (cursor, encode(WireGap.of(item)))


def json_line(item: Item, epoch: str) -> bytes:
    """Write a message, or a gap, as a line of JSON with the cursor from which reading goes on."""
    written = message_json(item) if isinstance(item, Message) else encode(WireGap.of(item))
    return with_cursor(written, _cursor_of(item, epoch))


def with_cursor(encoded: bytes, cursor: Cursor) -> bytes:
    """Write an encoded object as a line of JSON, with the cursor from which reading goes on as its last field."""
    return b'%s,"cursor":"%s"}\n' % (encoded[:-1], str(cursor).encode())  # a cursor needs no escape


def _sse_ping(cursor: Cursor) -> bytes:
    # An event and not a comment: `EventSource` shows a page no comment, and the page could not tell silence from death.
    at = str(cursor).encode()
    return b'event: ping\nid: %s\ndata: {"type":"ping","cursor":"%s"}\n\n' % (at, at)


def _sse_opening(cursor: Cursor) -> bytes:
    # In the block of an event: some clients make an event without data of a block that has a `retry` alone.
    return b"retry: %d\n" % RECONNECT_MS + _sse_ping(cursor)


def _json_ping(cursor: Cursor) -> bytes:
    return b'{"type":"ping","cursor":"%s"}\n' % str(cursor).encode()


def _sse_word(event: ErrorEvent | RestoredEvent) -> bytes:
    # Not by the name "error": browsers keep that for a connection that was lost.
    name = b"restored" if isinstance(event, RestoredEvent) else event.code.encode()
    return b"event: %s\ndata: %s\n\n" % (name, encode(event))


def _json_word(event: ErrorEvent | RestoredEvent) -> bytes:
    return encode(event) + b"\n"


EVENT_STREAM = StreamFormat("text/event-stream", _sse_opening, _sse_ping, _sse, _sse_word)
JSON_LINES = StreamFormat("application/x-ndjson", _json_ping, _json_ping, json_line, _json_word)


async def begin(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the whole stream once it has opened: what keeps it from opening can still be told by a status."""
    opening = await anext(events)

    async def whole() -> AsyncIterator[bytes]:
        yield opening
        async for event in events:
            yield event

    return whole()


async def stream(
    hub: Hub, room: str, start: StartPosition, history: int, form: StreamFormat
) -> AsyncGenerator[bytes, None]:
    """Yield the room from where `start` says, for as long as the client and the server live."""
    rung = asyncio.Event()  # there is something to read, or something was told
    told: list[bytes] = []

    def hear(signal: Signal) -> None:
        match signal:
            case StoreUnavailable(reason):
                told.append(form.tell(error_event(Unavailable(f"the store is unavailable: {reason}"))))
            case StoreAvailable():
                told.append(form.tell(RestoredEvent()))
            case _:
                return  # a stream is of messages
        del told[:-2]  # a reader who rests through many outages need not be told of each
        rung.set()

    with await hub.subscribe(room, after=start.after, history=history, wake=rung.set, on_signal=hear) as subscription:
        yield form.opening(subscription.cursor)
        while not subscription.is_closed:
            rung.clear()
            if told:
                said = b"".join(told)
                told.clear()  # before the stream rests, in which more may be told
                yield said
            elif items := await subscription.read(FETCH_MESSAGES, wait=False):
                for part in _slices(form.write(item, subscription.epoch) for item in items):
                    yield part
            elif not subscription.is_due and not await _is_rung(rung):
                yield form.heartbeat(subscription.cursor)


async def _is_rung(rung: asyncio.Event) -> bool:
    """Wait for the bell, but not longer than a stream may be silent; say whether it rang."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await rung.wait()
    except TimeoutError:
        return False
    return True


def _slices(written: Iterable[bytes]) -> Iterator[bytes]:
    """Join what is written, as many items at once as a slice takes, and one at least."""
    part: list[bytes] = []
    n_bytes = 0
    for item in written:
        if part and n_bytes + len(item) > SLICE_BYTES:
            yield b"".join(part)
            part, n_bytes = [], 0
        part.append(item)
        n_bytes += len(item)
    yield b"".join(part)
