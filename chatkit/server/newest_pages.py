"""NewestPages: the newest pages of rooms, as they were sent, for as long as the store does not change.

Many clients read the same page: a room's end, when they start. Only stores whose changes are known at once are used
this way (`Backend.change_mark`); any change of the store drops all pages.
"""

from typing import Final

from chatkit.core.hub import Hub

MAX_PAGES: Final = 64
MAX_PAGE_BYTES: Final = 1 << 16  # of one page: a hundred messages of usual size; 4 MiB together


class NewestPages:
    """The pages of one hub's rooms, by the room and the number of messages that was asked for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._mark: int | None = None  # of the state of the store that the pages show
        self._pages: dict[tuple[str, int], bytes] = {}

    def check(self) -> int | None:
        """Drop the pages if the store has changed. Return the mark of its state, for `find` and `keep`.

        While the mark is not known, because the store is busy, the pages stay, but are not found.
        """
        mark = self._hub.change_mark()
        if mark is not None and mark != self._mark:
            self._mark = mark
            self._pages.clear()
        return mark

    def find(self, room: str, limit: int, mark: int | None) -> bytes | None:
        """Return a page, directly after `check` returned this mark; None if it is not known."""
        return None if mark is None else self._pages.get((room, limit))

    def keep(self, room: str, limit: int, page: bytes, mark: int | None) -> None:
        """Keep a page that was read after the store had this mark, unless the store is known to have changed since."""
        if mark is None or mark != self._mark or len(page) > MAX_PAGE_BYTES:
            return
        if len(self._pages) >= MAX_PAGES:
            del self._pages[next(iter(self._pages))]
        self._pages[room, limit] = page
