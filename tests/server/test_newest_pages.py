"""Which pages are kept, and for how long. `test_short_path.py` compares them with what the routes answer."""

import asyncio
from pathlib import Path

from chatkit.backends.sqlite import SqliteBackend
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.server.newest_pages import NewestPages


def test_a_known_page_outlives_a_moment_in_which_the_store_is_busy(tmp_path: Path) -> None:
    async def test() -> None:
        async with SqliteBackend(tmp_path / "rooms.db") as backend, Hub(backend) as hub:
            pages = NewestPages(hub)
            mark = pages.check()
            pages.keep("ops", 5, b"page", mark)
            assert backend._pages.try_acquire()
            assert pages.find("ops", 5, pages.check()) is None
            backend._pages.release()
            assert pages.find("ops", 5, pages.check()) == b"page"
            await backend.append([Draft("ops", "ann", "hi")])
            pages.keep("ops", 5, b"old", mark)
            assert pages.find("ops", 5, pages.check()) is None

    asyncio.run(test())
