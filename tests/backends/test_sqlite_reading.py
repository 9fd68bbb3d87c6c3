"""Reading from an SQLite store: searches, and reads whose callers are cancelled."""

import asyncio
import sqlite3
from pathlib import Path

from sqlite_stores import fill_room, open_store

from chatkit.backends.sqlite.connection import ConnectionThread
from chatkit.core.backend import Filter
from chatkit.core.model import Draft


def test_pages_and_appends_do_not_wait_for_searches(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    fill_room(path, 200_000)

    async def main() -> None:
        async with open_store(path) as backend:
            nowhere = Filter(search="nowhere to be found")
            searches = [asyncio.ensure_future(backend.read("big", where=nowhere)) for _ in range(30)]
            page = await backend.read("big", before=150_000, limit=50)
            assert [m.seq for m in page.messages] == list(range(149_950, 150_000))
            await backend.append([Draft("big", "ann", "a later message")])
            assert (await backend.read("big", limit=1)).messages[0].body == "a later message"
            assert not searches[-1].done()
            first = await searches[0]
            assert (list(first.messages), first.complete) == ([], True)
            for search in searches:
                search.cancel()
            await asyncio.gather(*searches, return_exceptions=True)
            found = await backend.read("big", where=Filter(search="A LATER"), limit=3)
            assert [m.seq for m in found.messages] == [200_001]

    asyncio.run(main())


def test_a_read_is_interrupted_when_its_caller_is_cancelled(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    async def main() -> None:
        thread = ConnectionThread("test", tmp_path / "x.db", lambda: sqlite3.connect(tmp_path / "x.db"))
        await thread.open()
        for turns in range(20):
            read = asyncio.ensure_future(thread.run_interruptibly(lambda c: c.execute(endless).fetchone()))
            for _ in range(turns):
                await asyncio.sleep(0)
            read.cancel()
            assert await thread.run(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
        await thread.close()

    asyncio.run(main())


def test_the_change_mark_is_known_while_pages_are_read(tmp_path: Path) -> None:
    """Otherwise, clients that read the same page at the same time would each read it from the store."""
    path = tmp_path / "x.db"
    fill_room(path, 1_000)

    async def main() -> None:
        async with open_store(path) as backend:
            reads = [asyncio.ensure_future(backend.read("big", limit=100)) for _ in range(50)]
            while not all(read.done() for read in reads):
                assert backend.change_mark() is not None
                await asyncio.sleep(0)

    asyncio.run(main())
