"""What refers to messages in an SQLite store: what a page reads, and what a trim and a deletion leave behind."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlite_stores import open_store

from chatkit.backends.sqlite.page_statement import page_statement
from chatkit.backends.sqlite.relations import SENDERS_STEP
from chatkit.backends.sqlite.unread import MENTIONS, UNREAD
from chatkit.core.backend import Filter, RoomAdvanced
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Message

RELATION_TABLES = ("message_state", "reaction", "reaction_sender", "change_run", "mention")
N_SENDERS = SENDERS_STEP + 500  # more than a trim removes in one step
ANY_VALUE = {"room": "a", "after": 0, "before": 9, "limit": 9, "max_bytes": 9, "name": "a", "markers": "{}"}


def react(room: str, n: int) -> list[Draft]:
    return [Draft(room, f"n{i}", "👍", of=2, act=Act.REACT) for i in range(n)]


def count_rows(path: Path, *tables: str) -> list[int]:
    connection = sqlite3.connect(path)
    counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    connection.close()
    return counts


async def fill(path: Path, *rooms: str, n_senders: int = N_SENDERS) -> None:
    async with open_store(path) as backend:
        for room in rooms:
            await backend.append([Draft(room, "ann", str(n), mentions=("bob",)) for n in range(3)])
            await backend.append(react(room, n_senders))
            await backend.append([Draft(room, "ann", "", of=2, act=Act.PIN), Draft(room, "ann", "the last")])


def test_a_page_skips_any_number_of_changes_by_one_row(tmp_path: Path) -> None:
    async def main() -> None:
        await fill(tmp_path / "x.db", "a")
        async with open_store(tmp_path / "x.db") as backend:
            page = await backend.read("a", limit=2, folded=True)
            assert [message.seq for message in page.messages] == [3, N_SENDERS + 5]
            await backend.append([Draft("a", "ann", "", of=2, act=Act.UNPIN), Draft("a", "ann", "later")])
            page = await backend.read("a", after=3, folded=True)
            assert [message.seq for message in page.messages] == [N_SENDERS + 5, N_SENDERS + 7]
        connection = sqlite3.connect(tmp_path / "x.db")
        runs = connection.execute("SELECT first, last FROM change_run WHERE first > 0").fetchall()
        connection.close()
        assert runs == [(4, N_SENDERS + 4), (N_SENDERS + 6, N_SENDERS + 6)]

    asyncio.run(main())


@pytest.mark.parametrize("remove", ["trim", "delete"])
def test_nothing_is_left_of_messages_that_are_removed(tmp_path: Path, remove: str) -> None:
    async def main() -> None:
        await fill(tmp_path / "x.db", "a")
        await fill(tmp_path / "x.db", "b", n_senders=3)
        async with open_store(tmp_path / "x.db") as backend:
            if remove == "trim":
                await backend.trim("a", keep=1)
            else:
                await backend.delete_room("a")
            assert await backend.has_reaction("b", 2, "👍", "n1")

    asyncio.run(main())
    n_beginnings = 2 if remove == "trim" else 1  # the row that stands before the runs of a room
    assert count_rows(tmp_path / "x.db", *RELATION_TABLES) == [1, 1, 3, 1 + n_beginnings, 3]


def test_messages_without_relations_have_no_further_rows(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "x.db") as backend:
            await backend.append([Draft("a", "ann", str(n), key=str(n)) for n in range(9)])

    asyncio.run(main())
    assert not any(count_rows(tmp_path / "x.db", *RELATION_TABLES))


def test_another_process_is_notified_of_what_a_message_refers_to(tmp_path: Path) -> None:
    drafts = [
        Draft("a", "ann", "one @bob", mentions=("bob",)),
        Draft("a", "bob", "a reply", of=1, key="k"),
        Draft("a", "ann", "👍", of=2, act=Act.REACT, verified=True),
    ]

    async def main() -> None:
        async with open_store(tmp_path / "x.db") as one, open_store(tmp_path / "x.db") as two:
            await two.watch("a")
            receipts = await one.append(drafts)
            heard: list[Message] = []
            async for item in two.notifications():
                assert isinstance(item, RoomAdvanced)
                heard += item.messages
                if item.last == len(drafts):
                    break
            assert heard == [receipt.message for receipt in receipts]

    asyncio.run(main())


def plan_of(path: Path, statement: str) -> str:
    async def make() -> None:
        async with open_store(path):
            pass

    asyncio.run(make())
    connection = sqlite3.connect(path)
    values: dict[str, Any] = ANY_VALUE | dict.fromkeys(("of", "within", "time_ms", "seq"))
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    connection.close()
    return "\n".join(row[3] for row in rows)


@pytest.mark.parametrize(
    ("where", "folded", "search"),
    [
        (Filter(), True, "SEARCH run USING PRIMARY KEY (room=? AND first>? AND first<?)"),
        (Filter(of=1), True, "SEARCH message USING INDEX message_of (room=? AND of=? AND act=? AND seq>? AND seq<?)"),
        (Filter(of=1), False, "SEARCH message USING INDEX message_of (room=? AND of=?"),
        (Filter(pinned=True), True, "SEARCH pinned USING INDEX message_state_pinned (room=? AND seq>? AND seq<?)"),
    ],
)
@pytest.mark.parametrize("is_forward", [True, False])
def test_a_page_reads_only_what_it_returns(
    tmp_path: Path, where: Filter, folded: bool, search: str, is_forward: bool
) -> None:
    statement, _ = page_statement(where, is_forward=is_forward, folded=folded)
    plan = plan_of(tmp_path / "x.db", statement)
    assert search in plan
    assert "SCAN message" not in plan
    sorts = plan.count("USE TEMP B-TREE FOR ORDER BY")
    assert sorts == 1  # that of the emojis of a message, or of the few changes of one message
    if folded:
        assert "SEARCH state USING PRIMARY KEY (room=? AND seq=?)" in plan


@pytest.mark.parametrize(
    ("statement", "search"),
    [
        (MENTIONS, "SEARCH mention USING COVERING INDEX mention_time (name=?"),
        (UNREAD, "SEARCH mention USING PRIMARY KEY (name=? AND room>?)"),
        (UNREAD, "SEARCH mention USING PRIMARY KEY (name=? AND room=? AND seq>?)"),
        (UNREAD, "SEARCH message USING INDEX message_seq (room=? AND seq>?)"),
    ],
)
def test_mentions_and_unread_messages_are_found_by_an_index(tmp_path: Path, statement: str, search: str) -> None:
    plan = plan_of(tmp_path / "x.db", statement)
    assert search in plan
    assert not {"SCAN message", "SCAN mention"} & set(plan.splitlines())
