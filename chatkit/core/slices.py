"""Searches of one room, in slices of its log, so that one read costs the store a bounded time however long the log is.

A page is one slice, and so one snapshot: a slice with few hits is read again together with the messages behind it, and
only one without hits is left behind. Slices grow while the store is quick, for example because it has an index.
"""

from time import monotonic
from typing import Final, NamedTuple

from msgspec.structs import replace

from chatkit.core.backend import Backend, Filter, Page
from chatkit.core.model import Head

SEARCH_S: Final = 0.25  # of the store's time for one page: a client that waits sees that the search continues
FIRST_SLICE: Final = 1_000  # messages, examined whatever time it takes, so that every read makes progress
GROWTH: Final = 4  # of slices: what is read twice is then at most a third of all that is read
MAX_GROWTH: Final = 250_000  # messages: those behind may cost a store with an index far more than those before


class SearchedPage(NamedTuple):
    """A page of hits. `reached` is the number from which an unfinished search continues: its `before` or `after`."""

    page: Page
    reached: int | None


class Deadline:
    """The time at which a search ends, in seconds of a monotonic clock."""

    def __init__(self, seconds: float | None = None) -> None:
        """Start now. Without `seconds`, it is in SEARCH_S."""
        self._end_s = monotonic() + (SEARCH_S if seconds is None else seconds)

    @property
    def left_s(self) -> float:
        """The seconds that are left; negative after the end."""
        return self._end_s - monotonic()


class _Slice(NamedTuple):
    """A part of a log, with the arguments that read it. Behind it, the search continues from `reached`."""

    after: int | None
    before: int | None
    above: int | None
    reached: int
    is_last: bool


async def search_room(
    backend: Backend,
    room: str,
    where: Filter,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int = 100,
    folded: bool = False,
    deadline: Deadline,
    head: Head | None = None,
) -> SearchedPage:
    """Read a page as `Backend.read` does, but examine no more messages than is possible until the deadline.

    At least FIRST_SLICE messages are examined. `head` is that of the log, if the caller has just read it.
    """
    if head is None:
        head = (await backend.read(room, limit=1)).head
    start, size = (after, before), FIRST_SLICE
    while True:
        part, began_s = _slice(head, *start, size), deadline.left_s
        page = await backend.read(
            room,
            after=part.after,
            before=part.before,
            limit=limit,
            where=replace(where, above=part.above),
            folded=folded,
        )
        if page.head.epoch != head.epoch:  # the log started again
            head, start = page.head, (after, before)
            continue
        if part.is_last or not page.complete:
            return SearchedPage(page, None)
        wanted = next_size(size, began_s - deadline.left_s, deadline.left_s)
        if wanted < (2 * size if page.messages else FIRST_SLICE):
            return SearchedPage(replace(page, complete=False), part.reached)
        if not page.messages:
            start = (None, part.reached) if after is None else (part.reached, before)
        size = wanted


def _slice(head: Head, after: int | None, before: int | None, size: int) -> _Slice:
    """Return the first `size` numbers of a range, in the direction in which it is read."""
    stop = head.last + 1 if before is None else min(before, head.last + 1)
    if after is None:
        reached = max(stop - size, 1)
        return _Slice(None, before, reached - 1, reached, is_last=reached <= head.first)
    reached = max(after, head.first - 1) + size
    is_last = reached >= stop - 1
    return _Slice(after, before if is_last else reached + 1, None, reached, is_last)


def next_size(size: int, took_s: float, left_s: float) -> int:
    """Return how many messages can be examined in the time that is left, if the next ones take as long as the last."""
    return min(int(size * min(GROWTH, left_s / max(took_s, 1e-6))), size + MAX_GROWTH)
