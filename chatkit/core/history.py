"""Pages of a room's history, read by position, with the gap before the page if messages are missing."""

from collections.abc import Sequence

import msgspec

from chatkit.core.backend import Backend, Filter
from chatkit.core.model import Cursor, Gap, Head, Message
from chatkit.core.position import is_in_log, resume
from chatkit.core.slices import Deadline, SearchedPage, search_room


class HistoryPage(msgspec.Struct, frozen=True):
    """Messages of a room in `seq` order, the log's head when they were read, and the gap before them, if there is one.

    `complete` is true if no further message matches in the direction of the read. `cursor` is the position after the
    page. `reached` is set if a search has ended early: the number from which it continues, with `before` or `after`.
    """

    head: Head
    messages: Sequence[Message]
    complete: bool
    gap: Gap | None
    cursor: Cursor
    reached: int | None = None


async def read_history(
    backend: Backend,
    room: str,
    *,
    after: Cursor | int | None = None,
    before: Cursor | int | None = None,
    limit: int = 100,
    where: Filter | None = None,
    folded: bool = False,
) -> HistoryPage:
    """Read a page; see `Backend.read` for the arguments, and `position` for cursors of another log.

    A page holds at most `page_size.MAX_PAGE_BYTES`. Reading again from its cursor returns the rest. A search ends after
    about `slices.SEARCH_S`, and then has found some messages, or none: see `HistoryPage.reached`.
    """
    deadline = Deadline()
    start, end = _seq(after), _seq(before)
    gap: Gap | None = None
    while True:
        page, reached = await _read(
            backend, room, where, after=start, before=end, limit=limit, folded=folded, deadline=deadline
        )
        if before is not None and not is_in_log(before, page.head):
            before = end = None  # a cursor of a log that is gone is no bound: the page is read again without it
        elif after is None or start is None:
            break
        else:
            read_from = max(start, page.head.first - 1)
            resumed, gap = resume(after, page.head, keeps_history=backend.keeps_history)
            start = resumed.seq
            if read_from == start:
                break  # otherwise the log started again: the page is read again, from the start of the new log
    is_at_head = end is None and (start is None or page.complete)
    read_to = page.messages[-1].seq if page.messages else start or 0
    if start is not None and reached is not None:
        read_to = reached
    cursor = Cursor(page.head.epoch, page.head.last if is_at_head else read_to)
    return HistoryPage(page.head, page.messages, page.complete, gap, cursor, reached)


async def _read(
    backend: Backend,
    room: str,
    where: Filter | None,
    *,
    after: int | None,
    before: int | None,
    limit: int,
    folded: bool,
    deadline: Deadline,
) -> SearchedPage:
    if where is not None and where.is_search:
        return await search_room(
            backend, room, where, after=after, before=before, limit=limit, folded=folded, deadline=deadline
        )
    page = await backend.read(room, after=after, before=before, limit=limit, where=where, folded=folded)
    return SearchedPage(page, None)


def _seq(position: Cursor | int | None) -> int | None:
    return position.seq if isinstance(position, Cursor) else position
