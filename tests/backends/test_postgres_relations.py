"""What refers to messages in PostgreSQL: what a page reads, and what a trim, a deletion and an administrator leave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import stores
from postgres_backends import sql

from chatkit.backends import open_backend
from chatkit.backends.postgres import PostgresBackend
from chatkit.backends.postgres.page_statement import BEYOND, page_statement
from chatkit.backends.postgres.unread import MENTIONS, UNREAD
from chatkit.core.backend import Filter, RoomAdvanced
from chatkit.core.message_state import Act, Reaction
from chatkit.core.model import Draft, Message

RELATION_TABLES = ("message_state", "reaction", "reaction_sender", "change_run", "mention")
N_SENDERS = 1_200  # more than a trim removes in one step


@asynccontextmanager
async def filled(url: str, *rooms: str, n_senders: int = N_SENDERS) -> AsyncIterator[PostgresBackend]:
    """Open a store in whose rooms many react to the second of three messages."""
    async with open_backend(url) as backend:
        assert isinstance(backend, PostgresBackend)
        for room in rooms:
            await backend.append([Draft(room, "ann", str(n), mentions=("bob",)) for n in range(3)])
            await backend.append([Draft(room, f"n{n}", "👍", of=2, act=Act.REACT) for n in range(n_senders)])
            await backend.append([Draft(room, "ann", "", of=2, act=Act.PIN), Draft(room, "ann", "the last")])
        yield backend


def count_rows(url: str) -> list[int]:
    return [int(sql(f"SELECT count(*) FROM {{}}.{table}", url)) for table in RELATION_TABLES]


def test_a_page_skips_any_number_of_changes_by_one_row() -> None:
    url = stores.emptied_postgres()

    async def main() -> None:
        async with filled(url, "a") as backend:
            page = await backend.read("a", limit=2, folded=True)
            assert [message.seq for message in page.messages] == [3, N_SENDERS + 5]
            await backend.append([Draft("a", "ann", "", of=2, act=Act.UNPIN), Draft("a", "ann", "later")])
            page = await backend.read("a", after=3, folded=True)
            assert [message.seq for message in page.messages] == [N_SENDERS + 5, N_SENDERS + 7]

    asyncio.run(main())
    runs = sql("SELECT first || ' ' || last FROM {}.change_run WHERE first > 0 ORDER BY first", url).splitlines()
    assert runs == [f"4 {N_SENDERS + 4}", f"{N_SENDERS + 6} {N_SENDERS + 6}"]


@pytest.mark.parametrize("remove", ["trim", "delete"])
def test_nothing_is_left_of_messages_that_are_removed(remove: str) -> None:
    url = stores.emptied_postgres()

    async def main() -> None:
        async with filled(url, "a"), filled(url, "b", n_senders=3) as backend:
            if remove == "trim":
                await backend.trim("a", keep=1)
            else:
                await backend.delete_room("a")
            assert await backend.has_reaction("b", 2, "👍", "n1")

    asyncio.run(main())
    n_beginnings = 2 if remove == "trim" else 1  # the row that stands before the runs of a room
    assert count_rows(url) == [1, 1, 3, 1 + n_beginnings, 3]


def test_the_messages_of_an_emptied_store_have_no_state_of_earlier_ones() -> None:
    url = stores.emptied_postgres()

    async def main() -> None:
        async with filled(url, "a", n_senders=3) as backend:
            await asyncio.to_thread(sql, "TRUNCATE {}.room, {}.message RESTART IDENTITY", url)
            await backend.append([Draft("a", "ann", str(n)) for n in range(3)])
            page = await backend.read("a", folded=True)
            assert [(message.body, message.state) for message in page.messages] == [
                ("0", None),
                ("1", None),
                ("2", None),
            ]
            assert not await backend.read_mentions("bob")

    asyncio.run(main())


def test_messages_without_relations_have_no_further_rows() -> None:
    url = stores.emptied_postgres()

    async def main() -> None:
        async with open_backend(url) as backend:
            await backend.append([Draft("a", "ann", str(n), key=str(n)) for n in range(9)])

    asyncio.run(main())
    assert count_rows(url) == [0] * len(RELATION_TABLES)


def test_reactions_of_one_batch_are_folded_in_their_order() -> None:
    async def main() -> None:
        async with open_backend(stores.emptied_postgres()) as backend:
            await backend.append([Draft("a", "ann", "one")])
            changes = [("x", Act.REACT), ("y", Act.REACT), ("x", Act.UNREACT), ("x", Act.REACT), ("z", Act.UNREACT)]
            await backend.append([Draft("a", "ann", f":{emoji}:", of=1, act=act) for emoji, act in changes])
            await backend.append([Draft("a", sender, ":y:", of=1, act=Act.REACT) for sender in ("bob", "ann", "bob")])
            (message,) = (await backend.read("a", folded=True)).messages
            assert message.state is not None
            assert message.state.reactions == (Reaction(":y:", 2, ("ann", "bob")), Reaction(":x:", 1, ("ann",)))

    asyncio.run(main())


def test_another_process_is_notified_of_what_a_message_refers_to() -> None:
    drafts = [
        Draft("a", "ann", "one @bob", mentions=("bob",)),
        Draft("a", "bob", "a reply", of=1, key="k"),
        Draft("a", "ann", "👍", of=2, act=Act.REACT, verified=True),
    ]

    async def main() -> None:
        url = stores.emptied_postgres()
        async with open_backend(url) as one, open_backend(url) as two:
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


FILL = """
    INSERT INTO {}.message (room, seq, time_ms, sender, body)
    SELECT room.id, 1000 + n, 0, 'ann', repeat('x', 100) FROM {}.room, generate_series(1, 20000) AS n;
    UPDATE {}.room SET last = 21000;
    ANALYZE {}.message; ANALYZE {}.message_state; ANALYZE {}.mention
"""


@pytest.fixture(scope="module")
def large_store() -> str:
    """Return the URL of a store with two long rooms."""
    url = stores.emptied_postgres()

    async def main() -> None:
        async with filled(url, "a", "b", n_senders=200):
            await asyncio.to_thread(sql, FILL, url)

    asyncio.run(main())
    return url


def plan_of(url: str, statement: str, *values: object) -> str:
    async def explain() -> str:
        async with open_backend(url) as backend:
            assert isinstance(backend, PostgresBackend)
            filled_in = backend._schema.fill_in(f"EXPLAIN {statement}")
            rows = await backend._pages.run(lambda connection: connection.fetch(filled_in, *values), timeout_s=5)
            return "\n".join(row["QUERY PLAN"] for row in rows)

    return asyncio.run(explain())


@pytest.mark.parametrize(
    ("where", "folded", "index"),
    [
        (Filter(), True, "message_pkey"),
        (Filter(of=2), True, "message_reply"),
        (Filter(of=2), False, "message_of"),
        (Filter(pinned=True), True, "message_pkey"),
    ],
)
@pytest.mark.parametrize("is_forward", [True, False])
def test_a_page_reads_only_what_it_returns(
    large_store: str, where: Filter, folded: bool, index: str, is_forward: bool
) -> None:
    statement, values = page_statement(where, is_forward=is_forward, folded=folded)
    plan = plan_of(large_store, statement, "a", 0, BEYOND, 9, 9, *values)
    assert index in plan
    assert "Seq Scan on message " not in plan


def test_unread_messages_and_mentions_are_found_by_an_index(large_store: str) -> None:
    plan = plan_of(large_store, UNREAD, "bob", ["a"], [20_900], "bob", 9)
    assert "message_pkey" in plan
    assert "Seq Scan on message " not in plan
    mentions = plan_of(large_store, MENTIONS, "bob", ["a"], None, None, None, 9, [None])
    assert "message_pkey" in mentions
    assert "Seq Scan on message " not in mentions
