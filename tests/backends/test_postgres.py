"""PostgresBackend on a real PostgreSQL server: any text, long and concurrent batches, searches, and wiped logs."""

import asyncio
import itertools
from functools import partial

import pytest
import stores
from postgres_backends import eventually, has_reached, opened, sql

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, keyed_drafts, numbers_of, texts, until
from chatkit.backends.postgres.escaping import escape, prefilter, unescape
from chatkit.backends.postgres.writer import Batch, count_chars
from chatkit.core.backend import Filter, Notification, RoomAdvanced
from chatkit.core.model import Draft, Receipt
from chatkit.errors import Unavailable

# Stored text and batches


def test_any_name_and_body_is_stored_unchanged() -> None:
    rooms = ["\U00020000" * 64, "a.b-c_d", "select", "Room"]
    bodies = [
        "\0",
        "\1\2\3\0",
        "\1\2\2",
        "'; DROP SCHEMA x; --",
        '"]["',
        "\\",
        "a\nb\r\n\t",
        "\ufffe\uffff",
        "{schema}",
    ]
    drafts = [
        Draft(room, "O'Neil \\ \"", body, {"\0": ["\0", body]}, f"'{n}\\")
        for n, body in enumerate(bodies)
        for room in rooms
    ]

    async def main() -> None:
        async with opened(stores.emptied_postgres(), 2) as (one, two):
            for room in rooms:
                await two.watch(room)
            receipts = await one.append(drafts)
            for room in rooms:
                in_room = [receipt.message for receipt in receipts if receipt.message.room == room]
                assert list((await two.read(room)).messages) == in_room
            received: dict[str, RoomAdvanced] = {}
            await until(two.notifications(), lambda item: record(item, received) == len(rooms))
            assert await two.append(drafts) == [Receipt(receipt.message, repeat=True) for receipt in receipts]
            for advanced in received.values():
                assert list(advanced.messages) == [r.message for r in receipts if r.message.room == advanced.room]

    asyncio.run(main())


def record(item: Notification, received: dict[str, RoomAdvanced]) -> int:
    assert isinstance(item, RoomAdvanced)
    received[item.room] = item
    return len(received)


@pytest.mark.parametrize("text", ["", "\0", "\1", "\1\2\2", "a\0b\1c\2d\3e", "\3\2\1\0" * 3])
def test_an_escaped_text_contains_exactly_the_escaped_parts_of_the_text(text: str) -> None:
    assert unescape(escape(text)) == text
    assert "\0" not in escape(text)
    parts = ["".join(part) for n in range(1, 4) for part in itertools.product("\0\1\2\3", repeat=n)]
    assert [part in text for part in parts] == [escape(part) in escape(text) for part in parts]


def test_the_time_limit_of_a_batch_counts_escaped_and_folded_text() -> None:
    drafts = [Draft("a", "ann", "\1" * 1_000, "x" * 1_000), Draft("a", "ann", "Ä" * 1_000)]
    assert count_chars(Batch(drafts).values()) > 3_000 + 1_000 + 2 * 1_000


def test_batches_too_long_for_a_payload_are_notified() -> None:
    async def main() -> None:
        async with opened(stores.emptied_postgres(), 2) as (one, two):
            await two.watch("a")
            for body in ("x" * 7_000, "x" * 7_999, "ä" * 60_000, '"' * 4_100):
                (receipt,) = await one.append(drafts_in("a", body))
                last = receipt.message.seq
                (*_, advanced) = await until(two.notifications(), partial(has_reached, last))
                assert isinstance(advanced, RoomAdvanced)
                assert advanced.epoch == receipt.message.epoch
                assert list(advanced.messages) in ([], [receipt.message])
                assert (await two.read("a", after=last - 1)).messages == [receipt.message]

    asyncio.run(main())


def test_a_batch_of_many_rooms_is_notified_in_each_room() -> None:
    rooms = ["\U00020000" * 60 + f"{n:04}" for n in range(1_000)]

    async def main() -> None:
        async with opened(stores.emptied_postgres(), 2) as (one, two):
            for room in rooms:
                await two.watch(room)
            await one.append([draft for room in rooms for draft in drafts_in(room, 1, 2)])
            received: dict[str, RoomAdvanced] = {}
            await until(two.notifications(), lambda item: record(item, received) == len(rooms))
            assert {advanced.last for advanced in received.values()} == {2}

    asyncio.run(main())


def test_batches_over_the_same_rooms_in_any_order_do_not_deadlock() -> None:
    rooms = [f"room{n}" for n in range(30)]

    async def main() -> None:
        async with opened(stores.emptied_postgres(), 4) as backends:
            appends = []
            for n in range(40):
                order = rooms if n % 2 else rooms[::-1]
                order = order[n % 7 :]
                drafts = [draft for room in order for draft in keyed_drafts(room, f"{n}.1", f"{n}.2")]
                appends.append(backends[n % 4].append(drafts))
            for receipts in await asyncio.gather(*appends):
                for first, second in zip(receipts[::2], receipts[1::2], strict=True):
                    assert second.message.seq == first.message.seq + 1
            for room in rooms:
                await texts(backends[0], room)

    asyncio.run(main())


def test_a_key_appended_concurrently_by_all_backends_is_stored_once() -> None:
    async def main() -> None:
        async with opened(stores.emptied_postgres(), 3) as backends:
            for n in range(10):
                results = await asyncio.gather(
                    *(b.append([*keyed_drafts("a", f"k{n}", f"l{n}"), *drafts_in("a", "other")]) for b in backends)
                )
                for i in (0, 1):
                    assert sum(not receipts[i].repeat for receipts in results) == 1
                    assert len({receipts[i].message.seq for receipts in results}) == 1
            assert len(await texts(backends[0], "a")) == 10 * (2 + 3)

    asyncio.run(main())


def test_a_key_that_another_process_stores_with_the_room_is_found() -> None:
    # The function of one room looks for the room and for keys, and then extends the room. If another process creates
    # both in between, it fails as it does here.
    async def main() -> None:
        url = stores.postgres()
        async with opened(url, 1) as (backend,):
            [first] = await backend.append(keyed_drafts("a", "k"))
            sql(
                "CREATE OR REPLACE FUNCTION {}.append_to_room(in_name text, senders text[], bodies text[], "
                "datas text[], keys text[], foldeds text[], flags smallint[], OUT number bigint, "
                "OUT redactions bigint, OUT epoch text, OUT last bigint, OUT time_ms bigint) LANGUAGE plpgsql "
                "AS $$ BEGIN RAISE unique_violation; END $$",
                url,
            )
            assert await backend.append(keyed_drafts("a", "k")) == [Receipt(first.message, repeat=True)]

    asyncio.run(main())


# Search


SEARCHES = {
    "grösse": [2, 3],
    "100%": [1],
    "_": [1],
    "\\": [4],
    "\0t": [5],
    "straße": [6],
    "xyz": [],
    "": [1, 2, 3, 4, 5, 6],
}
BODIES = ["100%_sure", "GRÖSSE", "größe", "back\\slash", "nul\0Tail", "STRASSE"]


async def search_all(url: str) -> None:
    async with open_backend(url) as backend:
        await backend.append(drafts_in("a", *BODIES))
        await backend.append(drafts_in("b", *BODIES))
        for search, seqs in SEARCHES.items():
            assert numbers_of((await backend.read("a", where=Filter(search=search))).messages) == seqs, search


def test_a_search_can_use_an_index_if_trigrams_are_available() -> None:
    url = stores.emptied_postgres()
    asyncio.run(search_all(url))
    folded = """coalesce(folded, lower(body COLLATE "C"))"""
    for search, seqs in SEARCHES.items():
        like = prefilter(escape(search.casefold()))
        asked = f"SELECT seq FROM {{}}.message WHERE {folded} LIKE '{like}' AND room = 1 ORDER BY seq"
        prefix = "SET enable_seqscan = off; SET enable_indexscan = off; "
        assert sql(prefix + asked, url).split() == [str(seq) for seq in seqs]
    assert "message_trigrams" in sql(prefix + f"EXPLAIN SELECT FROM {{}}.message WHERE {folded} LIKE '%grösse%'", url)


def test_a_search_finds_the_same_without_trigrams() -> None:
    sql("CREATE DATABASE plain; ")
    server = stores.postgres_server()
    server.run_sql("CREATE ROLE humble LOGIN; CREATE SCHEMA chatkit AUTHORIZATION humble", "plain")
    asyncio.run(search_all(server.url.replace("chatkit@", "humble@").replace("/postgres", "/plain")))
    assert server.run_sql("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'", "plain") == "0"


def test_cancelling_a_search_cancels_it_in_the_database() -> None:
    url = stores.postgres()
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%\"{}\".message%strpos%'"

    async def main() -> None:
        async with open_backend(url) as backend:
            await backend.append(drafts_in("a", "x"))
            # Bodies on which a search is slow: they repeat all but the last letter of the search.
            sql(
                "DROP INDEX {}.message_trigrams; INSERT INTO {}.message"
                " SELECT 1, n, 0, 's', repeat(repeat('a', 99) || 'b', 6000)"
                " FROM generate_series(2, 800) AS n; UPDATE {}.room SET last = 800",
                url,
            )
            search = asyncio.ensure_future(backend.read("a", where=Filter(search="b" + "a" * 99 + "b" + "c" * 30_000)))
            await eventually(lambda: search.done() or sql(running + " AND pid <> pg_backend_pid()", url) != "0")
            assert len((await backend.read("a", limit=1)).messages) == 1  # pages are not delayed
            search.cancel()
            with pytest.raises(asyncio.CancelledError):
                await search
            await eventually(lambda: sql(running + " AND pid <> pg_backend_pid()", url) == "0")

    asyncio.run(main())


def test_searches_do_not_delay_the_list_of_rooms() -> None:
    url = stores.emptied_postgres()
    lock = "BEGIN; LOCK {}.message; SELECT pg_sleep(1001)"
    sleeping = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%1001%'"
    searching = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%\"{}\".%strpos%'"

    async def main() -> None:
        async with open_backend(url) as backend:
            await backend.append(drafts_in("a", 1))
            holding = asyncio.ensure_future(asyncio.to_thread(sql, lock, url))
            await eventually(lambda: sql(f"SELECT count(*) {sleeping}") == "1")
            searches = [asyncio.ensure_future(backend.read("a", where=Filter(search="x"))) for _ in range(5)]
            await eventually(lambda: sql(searching, url) == "2")
            try:
                assert [info.room for info in await backend.rooms()] == ["a"]
                assert not any(search.done() for search in searches)
            finally:
                await asyncio.to_thread(sql, f"SELECT pg_terminate_backend(pid) {sleeping}")
                with pytest.raises(Unavailable, match="terminating connection"):
                    await holding
            await asyncio.gather(*searches)

    asyncio.run(main())


def test_closing_ends_calls_in_progress() -> None:
    url = stores.emptied_postgres()
    lock = "BEGIN; LOCK {}.message; SELECT pg_sleep(1000)"

    async def main() -> None:
        async with open_backend(url) as backend:
            await backend.append(drafts_in("a", 1))
            holding = asyncio.ensure_future(asyncio.to_thread(sql, lock, url))
            blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%\"{}\".%'"
            await eventually(lambda: sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1")
            calls = [backend.read("a"), backend.read("a", where=Filter(search="x")), backend.redact("a", 1)]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await eventually(lambda: sql(blocked, url) == "3")
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        await asyncio.to_thread(sql, ending)
        with pytest.raises(Unavailable, match="terminating connection"):
            await holding

    asyncio.run(main())


# Wiped logs


@pytest.mark.parametrize(
    "wipe",
    [
        "TRUNCATE {}.meta, {}.room, {}.message, {}.process, {}.member",
        "TRUNCATE {}.room, {}.message",
        "DELETE FROM {}.room",
    ],
)
def test_a_wiped_log_gets_another_epoch_and_readers_are_notified(wipe: str) -> None:
    url = stores.emptied_postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            (before,) = await one.append(drafts_in("a", 1))
            await two.watch("a")
            await asyncio.to_thread(sql, wipe, url)
            (*_, advanced) = await until(
                two.notifications(), lambda item: getattr(item, "epoch", "") != before.message.epoch
            )
            assert isinstance(advanced, RoomAdvanced)
            assert advanced.last == 0
            (after,) = await one.append(drafts_in("a", 2))
            assert (after.message.seq, after.message.epoch) == (1, advanced.epoch)

    asyncio.run(main())


def test_a_dropped_schema_is_created_again_with_another_epoch() -> None:
    url = stores.postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            (before,) = await one.append(keyed_drafts("a", 1, 2)[:1])
            await one.read("a", where=Filter(search="x"))
            await two.watch("a")
            await asyncio.to_thread(sql, "DROP SCHEMA {} CASCADE", url)
            (after,) = await one.append(keyed_drafts("a", 1))
            assert after.message.seq == 1
            assert not after.repeat
            assert after.message.epoch != before.message.epoch
            await until(two.notifications(), lambda item: getattr(item, "epoch", "") == after.message.epoch)
            assert (await two.read("a")).head.epoch == after.message.epoch
            assert await two.trim(keep=0) == 1

    asyncio.run(main())
