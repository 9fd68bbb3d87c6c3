"""Answers that may be long: lists are encoded in a thread, piece by piece, and sent in slices, so that nobody waits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeVar

from litestar import MediaType, Response
from litestar.response import Stream

from chatkit.wire.protocol import encode

ENCODED_AT_ONCE: Final = 50  # items: half a millisecond, which is not worth a thread
SLICE_BYTES: Final = 1 << 16

Item = TypeVar("Item")


async def answer_list(name: str, items: Sequence[Item], view: Callable[[Item], Any]) -> Response[Any]:
    """Answer with a JSON object whose field `name` is the list of the views. `view` may run in a thread."""
    if len(items) <= ENCODED_AT_ONCE:
        return answer_encoded(encode_list(name, items, view))
    return answer_encoded(await asyncio.to_thread(encode_list, name, items, view))


def encode_list(name: str, items: Sequence[Item], view: Callable[[Item], Any]) -> bytes:
    """Encode the views in pieces: while one is encoded, no other thread runs."""
    pieces = (items[start : start + ENCODED_AT_ONCE] for start in range(0, len(items), ENCODED_AT_ONCE))
    encoded = b",".join(encode([view(item) for item in piece])[1:-1] for piece in pieces)
    return b'{"%s":[%s]}' % (name.encode(), encoded)


def answer_encoded(encoded: bytes) -> Response[Any]:
    """Answer with JSON. A long answer is sent in slices, as fast as the client reads them."""
    if len(encoded) <= SLICE_BYTES:
        return Response(encoded, media_type=MediaType.JSON)
    return Stream(slices(encoded), media_type=MediaType.JSON, headers={"Content-Length": str(len(encoded))})


async def slices(encoded: bytes) -> AsyncIterator[bytes]:
    """Yield a long answer in parts. Each waits until the client has read those before."""
    for start in range(0, len(encoded), SLICE_BYTES):
        yield encoded[start : start + SLICE_BYTES]
