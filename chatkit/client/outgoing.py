"""The forms in which a program passes messages to `Client.publish_all`. Does no I/O."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

Outgoing = str | tuple[str, Any] | tuple[str, Any, str | None]
"""A message to publish: a body, a body and data, or a body, data and a key."""


async def iterate_outgoing(
    messages: Iterable[Outgoing] | AsyncIterable[Outgoing],
) -> AsyncIterator[tuple[str, Any, str | None]]:
    """Iterate over the body, data and key of each message."""
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield parts_of(message)
    else:
        for message in messages:
            yield parts_of(message)


def parts_of(message: Outgoing) -> tuple[str, Any, str | None]:
    """Return the body, data and key of a message."""
    if isinstance(message, str):
        return message, None, None
    return message[0], message[1], message[2] if len(message) == 3 else None
