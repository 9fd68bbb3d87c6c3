"""Answers that may be long: lists are encoded in a thread, and sent in slices, so that nobody else waits for them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from litestar import MediaType, Response
from litestar.response import Stream

from chatkit.wire.protocol import encode

FEW_ITEMS: Final = 50  # these are encoded in half a millisecond, which is not worth a thread
SLICE_BYTES: Final = 1 << 16

Item = TypeVar("Item")


async def answer_list(items: Sequence[Item], view: Callable[[Sequence[Item]], msgspec.Struct]) -> Response[Any]:
    """Answer with the JSON of `view(items)`, which may run in a thread."""
    if len(items) <= FEW_ITEMS:
        return answer_encoded(encode(view(items)))
    return answer_encoded(await asyncio.to_thread(lambda: encode(view(items))))


def answer_encoded(encoded: bytes) -> Response[Any]:
    """Answer with JSON. A long answer is sent in slices, as fast as the client reads them."""
    if len(encoded) <= SLICE_BYTES:
        return Response(encoded, media_type=MediaType.JSON)
    return Stream(slices(encoded), media_type=MediaType.JSON, headers={"Content-Length": str(len(encoded))})


async def slices(encoded: bytes) -> AsyncIterator[bytes]:
    """Yield a long answer in parts. Each waits until the client has read those before."""
    for start in range(0, len(encoded), SLICE_BYTES):
        yield encoded[start : start + SLICE_BYTES]
