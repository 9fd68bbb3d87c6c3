"""A room as a stream over HTTP: server-sent events, whose ids are cursors, and JSON lines."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

import msgspec

from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.room import Signal, StoreAvailable, StoreUnavailable
from chatkit.core.subscription import Item
from chatkit.errors import Unavailable
from chatkit.session.session import StartPosition
from chatkit.wire.protocol import ErrorEvent, RestoredEvent, WireGap, encode, error_event, message_json

KEEP_ALIVE_S = 15.0  # proxies cut a silent stream after 30 to 60 seconds
RECONNECT_MS = 1_000
FETCH_MESSAGES = 64  # what is held at once for a reader who stops reading; the largest make some megabytes
SLICE_BYTES = 1 << 16  # what is written at once: behind it, the stream waits for a reader who does not keep up


class StreamFormat(msgspec.Struct, frozen=True):
    """How items are written, and what says that the stream is alive though nothing happens."""

    media_type: str
    opening: bytes
    keep_alive: bytes
    write: Callable[[Item, str], bytes]
    tell: Callable[[ErrorEvent | RestoredEvent], bytes]


def _sse(item: Item, epoch: str) -> bytes:
    if isinstance(item, Message):
        return b"id: %s\ndata: %s\n\n" % (str(item.cursor).encode(), message_json(item))
    # A stream cut off right behind the gap goes on behind it.
    return b"event: gap\nid: %s\ndata: %s\n\n" % (str(Cursor(epoch, item.before - 1)).encode(), _gap_json(item))


def json_line(item: Item) -> bytes:
    """Write a message, or a gap, as a line of JSON."""
    return (message_json(item) if isinstance(item, Message) else _gap_json(item)) + b"\n"


def _gap_json(gap: Gap) -> bytes:
    return encode(WireGap.of(gap))


def _sse_word(event: ErrorEvent | RestoredEvent) -> bytes:
    # Not by the name "error": browsers keep that for a connection that was lost.
    name = b"restored" if isinstance(event, RestoredEvent) else event.code.encode()
    return b"event: %s\ndata: %s\n\n" % (name, encode(event))


def _json_word(event: ErrorEvent | RestoredEvent) -> bytes:
    return encode(event) + b"\n"


EVENT_STREAM = StreamFormat("text/event-stream", b"retry: %d\n\n" % RECONNECT_MS, b":\n\n", _sse, _sse_word)
JSON_LINES = StreamFormat("application/x-ndjson", b"", b"\n", lambda item, _: json_line(item), _json_word)


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
                told.append(form.tell(error_event(Unavailable(f"the store is away: {reason}"))))
            case StoreAvailable():
                told.append(form.tell(RestoredEvent()))
            case _:
                return  # a stream is of messages
        del told[:-2]  # a reader who rests through many outages need not be told of each
        rung.set()

    with await hub.subscribe(room, after=start.after, history=history, wake=rung.set, on_signal=hear) as subscription:
        yield form.opening
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
                yield form.keep_alive


async def _is_rung(rung: asyncio.Event) -> bool:
    """Wait for the bell, but not longer than a stream may be silent; say whether it rang."""
    try:
        async with asyncio.timeout(KEEP_ALIVE_S):
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
