"""Lists of messages of all rooms, newest first, read page by page."""

from collections.abc import Awaitable, Callable
from typing import Any

from chatkit.client.pagination import PageProgress
from chatkit.client.validation import MessageListing
from chatkit.core.model import Message

PAGE_MESSAGES = 100  # the largest page of a server


async def read_listing(read: Callable[..., Awaitable[MessageListing]], count: int | None) -> tuple[list[Message], bool]:
    """Return the newest `count` messages of a list, or all, and whether it has more.

    `read` is `search` or `mentions` of a client; it is called with `before` and `limit`.
    """
    messages: list[Message] = []
    progress = PageProgress()
    which: dict[str, Any] = {"before": None}
    while True:
        which["limit"] = PAGE_MESSAGES if count is None else min(count - len(messages), PAGE_MESSAGES)
        page = await read(**which)
        progress.check(page.messages)
        messages += page.messages
        if page.cursor in {None, which["before"]} or len(messages) == count:
            return messages, page.cursor is not None
        which["before"] = page.cursor
