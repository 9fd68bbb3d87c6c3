"""A room as a stream over HTTP: server-sent events, whose ids are cursors, and JSON lines."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec

from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.subscription import Item
from chatkit.wire.frames import WireGap, encode, message_json
from chatkit.wire.session import Start

KEEP_ALIVE_S = 15.0  # proxies cut a silent stream after 30 to 60 seconds
RECONNECT_MS = 1_000


class StreamForm(msgspec.Struct, frozen=True):
    """How items are written, and what says that the stream is alive though nothing happens."""

    media_type: str
    opening: bytes
    keep_alive: bytes
    write: Callable[[Item, str], bytes]


def _sse(item: Item, epoch: str) -> bytes:
    if isinstance(item, Message):
        return b"id: %s\ndata: %s\n\n" % (str(item.cursor).encode(), message_json(item))
    # A stream cut off right behind the gap goes on behind it.
    return b"event: gap\nid: %s\ndata: %s\n\n" % (str(Cursor(epoch, item.before - 1)).encode(), _gap_json(item))


def _json_line(item: Item, epoch: str) -> bytes:  # noqa: ARG001  # a line carries no cursor
    return (message_json(item) if isinstance(item, Message) else _gap_json(item)) + b"\n"


def _gap_json(gap: Gap) -> bytes:
    return encode(WireGap(gap.after, gap.before, gap.reason))


EVENT_STREAM = StreamForm("text/event-stream", b"retry: %d\n\n" % RECONNECT_MS, b":\n\n", _sse)
JSON_LINES = StreamForm("application/x-ndjson", b"", b"\n", _json_line)


async def begin(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the whole stream once it has opened: what keeps it from opening can still be told by a status."""
    opening = await anext(events)

    async def whole() -> AsyncIterator[bytes]:
        yield opening
        async for event in events:
            yield event

    return whole()


async def stream(hub: Hub, room: str, start: Start, history: int, form: StreamForm) -> AsyncIterator[bytes]:
    """Yield the room from where `start` says, for as long as the client and the server live."""
    with await hub.subscribe(room, after=start.after, history=history) as subscription:
        yield form.opening
        while not subscription.is_closed:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    items = await subscription.next()
            except TimeoutError:
                yield form.keep_alive
            else:
                yield b"".join([form.write(item, subscription.epoch) for item in items])
