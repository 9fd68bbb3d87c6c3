"""Reads of history for clients: pages and searches wait in queues of their own, so that neither holds up the other."""

from typing import Final

from chatkit.core.backend import Filter
from chatkit.core.fair_queue import Client, FairQueue
from chatkit.core.history import HistoryPage
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor

SEARCHES: Final = 2  # at once: a search takes all of a processor, and may look at all of a room
SEARCH_S: Final = 20.0  # some ten million messages; our own clients wait for 30 s
PAGES: Final = 8  # at once: a page takes milliseconds and at most a few megabytes
PAGE_S: Final = 20.0  # longer than any store's own limit


class HistoryQueue:
    """The queues of one server."""

    def __init__(self) -> None:
        self._searches = FairQueue(
            "a search", max_running=SEARCHES, max_waiting=256, max_waiting_each=4, limit_s=SEARCH_S
        )
        self._pages = FairQueue("a page", max_running=PAGES, max_waiting=4_096, max_waiting_each=16, limit_s=PAGE_S)

    async def read(
        self,
        client: Client,
        hub: Hub,
        room: str,
        *,
        after: Cursor | int | None,
        before: Cursor | int | None,
        limit: int,
        where: Filter | None,
    ) -> HistoryPage:
        """Read a page in the client's turn; see `Hub.history`. Raise `RateLimited`, `Unavailable` or `StoreError`."""
        queue = self._pages if where is None or where == Filter() else self._searches
        return await queue.run(client, lambda: hub.history(room, after=after, before=before, limit=limit, where=where))
