"""HistoryQueue: reads of history for clients. Pages and searches have separate queues, so neither delays the other."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from chatkit.core.backend import Filter
from chatkit.core.fair_queue import Client, FairQueue
from chatkit.core.history import HistoryPage
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor

T = TypeVar("T")

SEARCHES: Final = 2  # at a time: a search uses a whole processor, and may scan a whole room
SEARCH_S: Final = 20.0  # enough for some ten million messages; chatkit's clients wait for 30 s
PAGES: Final = 8  # at a time: a page takes milliseconds and at most a few megabytes
PAGE_S: Final = 20.0  # longer than the time limit of any store


class HistoryQueue:
    """The queues of one server."""

    def __init__(self) -> None:
        self._searches = FairQueue(
            "a search", max_running=SEARCHES, max_waiting=256, max_waiting_each=4, limit_s=SEARCH_S
        )
        self._pages = FairQueue("a page", max_running=PAGES, max_waiting=4_096, max_waiting_each=16, limit_s=PAGE_S)

    async def search(self, client: Client, call: Callable[[], Awaitable[T]]) -> T:
        """Run a search in many rooms when it is the client's turn. Raise as `read` does."""
        return await self._searches.run(client, call)

    async def read_several(self, client: Client, call: Callable[[], Awaitable[T]]) -> T:
        """Run a call that reads a page of several rooms when it is the client's turn. Raise as `read` does."""
        return await self._pages.run(client, call)

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
        folded: bool = False,
    ) -> HistoryPage:
        """Read a page when it is the client's turn; see `Hub.history`.

        Raise `RateLimited`, `Unavailable` or `StoreError`.
        """
        queue = self._searches if where is not None and where.is_search else self._pages
        return await queue.run(
            client,
            lambda: hub.history(room, after=after, before=before, limit=limit, where=where, folded=folded),
        )
