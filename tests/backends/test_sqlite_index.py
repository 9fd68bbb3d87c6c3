"""The index for searches in SQLite: it finds what a search without it finds, and keeps nothing of what was removed."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness import run
from hypothesis import given, settings
from hypothesis import strategies as st

from chatkit.backends.sqlite import SqliteBackend, gram_filter
from chatkit.backends.sqlite.gram_filter import HAVING, bits_of, make_filter
from chatkit.backends.sqlite.search_index import find_parts
from chatkit.core.backend import Filter, Page
from chatkit.core.message_state import Act
from chatkit.core.model import Draft
from chatkit.core.text import fold

TEXTS = st.one_of(
    st.text(alphabet=st.sampled_from("abÄé%_'\"\\\0 語😀"), max_size=12),
    st.sampled_from(("apple pie", "Apfelküchle", "pineapple", "the quick brown fox")),
)


def has_all(filter_: bytes, search: str) -> bool:
    return all(filter_[byte - 1] in HAVING[place] for byte, place in bits_of(search.encode()))


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=80), start=st.integers(0, 80), n_chars=st.integers(0, 30), piece=st.integers(1, 9))
def test_a_filter_has_all_grams_of_a_part_of_its_text(text: str, start: int, n_chars: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gram_filter, "PIECE", piece)
        assert has_all(make_filter(text.encode()), text[start : start + n_chars])


def test_a_filter_excludes_other_texts() -> None:
    found = make_filter(b"the quick brown fox jumps over the lazy dog")
    assert not any(has_all(found, word) for word in ("zebra", "quack", "browns", "fox jumped"))
    assert all(has_all(found, short) for short in ("", "q", "xyz"))  # shorter than a gram
    assert len(bits_of(b"a sentence with far more than sixteen grams")) == gram_filter.N_TESTED


Operation = tuple[str, str, int]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "publish", "publish", "edit", "redact", "trim", "rename", "delete", "load"]),
        TEXTS,
        st.integers(1, 25),
    ),
    max_size=30,
)


async def carry_out(backend: SqliteBackend, operations: list[Operation]) -> None:
    for name, text, number in operations:
        last = (await backend.read("a", limit=1)).head.last
        match name:
            case "publish":
                await backend.append([Draft("a", "ann", text)])
            case "edit":
                await backend.append([Draft("a", "ann", text, of=number, act=Act.EDIT)])
            case "redact":
                page = await backend.read("a", after=number - 1, before=number + 1)
                if page.messages and page.messages[0].act in {None, Act.EDIT}:
                    await backend.redact("a", number)
            case "trim":
                await backend.trim("a", keep=max(last - number // 4, 0))
            case "rename":
                await backend.rename_room("a", "b")
                await backend.rename_room("b", "a")
            case "delete" if number > 20:
                await backend.delete_room("a")
            case "load" if last:
                message = (await backend.read("a", limit=1)).messages
                await backend.load([each.__class__("a", "", last + 1, 1, "bob", text) for each in message])
            case _:
                pass


async def search(backend: SqliteBackend, texts: list[str]) -> list[Page]:
    return [
        await backend.read("a", after=after, before=before, limit=limit, where=Filter(search=text), folded=folded)
        for text in texts
        for folded in (True, False)
        for after, before in ((0, None), (None, None), (3, 9), (None, 7))
        for limit in (1, 2, 100)
    ]


async def index(path: Path) -> None:
    async with SqliteBackend(path, indexes=True) as backend:
        assert backend.indexer is not None
        backend.indexer.block_messages = 3
        await backend.indexer.is_complete.wait()


@settings(max_examples=25, deadline=None)
@given(before=OPERATIONS, since=OPERATIONS, search_text=TEXTS)
def test_the_index_finds_what_a_scan_finds(before: list[Operation], since: list[Operation], search_text: str) -> None:
    texts = [search_text, "apple", "pple pie", "FELKÜ", "ab"]

    async def main(path: Path) -> None:
        async with SqliteBackend(path) as backend:
            await carry_out(backend, before)
        await index(path)
        async with SqliteBackend(path) as backend:
            await carry_out(backend, since)
            indexed = await search(backend, texts)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM search_block")
            connection.commit()
        async with SqliteBackend(path) as backend:
            assert indexed == await search(backend, texts)

    with TemporaryDirectory() as folder:
        run(main(Path(folder) / "x.db"))


async def fill(path: Path) -> None:
    """Store thirteen messages, of which twelve are in blocks of three."""
    async with SqliteBackend(path) as backend:
        await backend.append([Draft("a", "ann", f"message {n} of a secret {n * 7919:x}") for n in range(1, 14)])
    await index(path)


def blocks_of(path: Path) -> list[tuple[int, int, bytes]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT first, last, filter FROM search_block ORDER BY first").fetchall()


def test_blocks_cover_all_but_the_newest_messages(tmp_path: Path) -> None:
    run(fill(tmp_path / "x.db"))
    assert [block[:2] for block in blocks_of(tmp_path / "x.db")] == [(1, 3), (4, 6), (7, 9), (10, 12)]
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.text_factory = bytes
        assert find_parts(connection, "a", fold("message 5 OF"), 0, 100) == [(3, 7), (12, 100)]
        assert find_parts(connection, "a", "nowhere", 4, 8) == [(9, 10)]
        assert find_parts(connection, "a", "abc", 0, 100) == [(0, 100)]


def test_what_is_removed_is_not_left_in_the_index(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    async def main() -> None:
        await fill(path)
        filters = [block[2] for block in blocks_of(path)]
        async with SqliteBackend(path) as backend:
            await backend.redact("a", 5)
            await backend.append([Draft("a", "ann", "another text", of=8, act=Act.EDIT)])
            await backend.trim("a", keep=13)
        assert [block[:2] for block in blocks_of(path)] == [(10, 12)]
        content = path.read_bytes()
        assert [filter_ in content for filter_ in filters] == [False, False, False, True]
        await index(path)
        assert [block[:2] for block in blocks_of(path)] == [(2, 4), (5, 7), (8, 9), (10, 12)]
        async with SqliteBackend(path) as backend:
            await backend.delete_room("a")
        assert blocks_of(path) == []

    run(main())


def test_new_messages_are_indexed_while_the_store_is_open(tmp_path: Path) -> None:
    async def main() -> None:
        async with SqliteBackend(tmp_path / "x.db", indexes=True) as backend:
            assert backend.indexer is not None
            backend.indexer.block_messages = 3
            await backend.indexer.is_complete.wait()
            await backend.append([Draft("a", "ann", f"message {n}") for n in range(7)])
            async with asyncio.timeout(20):
                while len(blocks_of(tmp_path / "x.db")) < 2:  # noqa: ASYNC110 - another task makes them
                    await asyncio.sleep(0.05)
            await backend.append([Draft("a", "ann", "edited", of=2, act=Act.EDIT)])
            page = await backend.read("a", where=Filter(search="edited"), folded=True)
            assert [message.seq for message in page.messages] == [2]

    run(main())
