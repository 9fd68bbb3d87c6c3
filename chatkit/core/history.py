"""Reading a room's past by position: what a page misses is told as a gap, whoever asks for it."""

from itertools import accumulate

import msgspec

from chatkit.core.backend import Backend, Filter, Page
from chatkit.core.model import Cursor, Gap, Message

MAX_PAGE_BYTES = 1 << 23  # of bodies and data: what a client that asks for much and reads slowly may keep in memory


class HistoryPage(msgspec.Struct, frozen=True):
    """A page, the gap before its first message if there is one, and the cursor from which to read on behind it."""

    page: Page
    gap: Gap | None
    cursor: Cursor


async def read_history(
    backend: Backend,
    room: str,
    *,
    after: Cursor | int | None = None,
    before: Cursor | int | None = None,
    limit: int,
    where: Filter | None = None,
) -> HistoryPage:
    """Read a page; see `Backend.read`.

    A cursor of another life of the log, or one ahead of it, gives a gap and everything there is. A page is not of more
    than `MAX_PAGE_BYTES`: the rest is had by reading on.
    """
    start, end = _seq(after), _seq(before)
    page = await backend.read(room, after=start, before=end, limit=limit, where=where)
    gap: Gap | None = None
    if _is_of_another_log(after, page) or _is_of_another_log(before, page):
        if isinstance(after, Cursor):
            if after.seq or page.head.first > 1:  # who had nothing yet misses nothing of what began anew
                gap = Gap(after.seq, page.head.first, "epoch")
            start = 0
        end = None
        page = await backend.read(room, after=start, limit=limit, where=where)
    elif start is not None and page.head.first > start + 1:
        gap = Gap(start, page.head.first, "trimmed" if backend.keeps_history else "no-history")
    page = _bounded(page, is_forward=start is not None)
    is_at_head = end is None and (start is None or page.complete)
    read_to = page.messages[-1].seq if page.messages else start or 0
    return HistoryPage(page, gap, Cursor(page.head.epoch, page.head.last if is_at_head else read_to))


def _bounded(page: Page, *, is_forward: bool) -> Page:
    """Leave out what is too much, from the end that is farther from where reading began."""
    messages = page.messages if is_forward else page.messages[::-1]
    n_kept = max(1, sum(1 for n_bytes in accumulate(map(_size, messages)) if n_bytes <= MAX_PAGE_BYTES))
    if n_kept >= len(messages):
        return page
    kept = messages[:n_kept]
    return Page(page.head, kept if is_forward else kept[::-1], complete=False)


def _size(message: Message) -> int:
    """Return about how large a message is."""
    n_bytes = len(message.body if message.body.isascii() else message.body.encode())
    return n_bytes if message.data is None else n_bytes + len(msgspec.json.encode(message.data))


def _seq(position: Cursor | int | None) -> int | None:
    return position.seq if isinstance(position, Cursor) else position


def _is_of_another_log(position: Cursor | int | None, page: Page) -> bool:
    return isinstance(position, Cursor) and (position.epoch != page.head.epoch or position.seq > page.head.last)
