"""Records of Redis and PostgreSQL, beyond the backend contract: stores that lose data, and the number of commands."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

import asyncpg
import pytest
import stores
from postgres_backends import schema_of, sql
from redis_retries import calls_of, in_thread

from chatkit.backends import conformance, open_backend
from chatkit.backends.conformance import records as cases
from chatkit.backends.redis import records as redis_records
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Backend
from chatkit.core.model import Cursor
from chatkit.core.records import Record
from chatkit.errors import StoreError

RECORD_CASES = [
    case
    for case in conformance.cases(shared=True)
    if case.__module__ == cases.__name__ and case != cases.records_do_not_appear_in_rooms_nor_rooms_in_records
]  # that case also redacts a message, which requires a history
KEYS = [f"chatkit:records:{{records}}:{part}" for part in ("values", "versions", "names")]
EMPTY = "TRUNCATE {}.room, {}.message, {}.record"
LOSE_NEWEST = """
    BEGIN; ALTER TABLE {}.record DISABLE TRIGGER USER; DELETE FROM {}.record WHERE version > 1;
    UPDATE {}.record_head SET version = 1; ALTER TABLE {}.record ENABLE TRIGGER USER; COMMIT
"""


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """A server for the tests of this module, each of which finds it empty."""
    with RedisServer(stores.UNSYNCED) as own:
        yield own


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    shared_server.ask("FLUSHALL")
    shared_server.ask("CONFIG", "RESETSTAT")
    return shared_server


async def put(backend: Backend, key: str, value: bytes | None = b"", version: int = 0) -> Record:
    return await backend.put_record("token", key, value, expected_version=version)


@pytest.mark.parametrize("case", RECORD_CASES, ids=lambda case: case.__name__)
def test_a_redis_without_history_keeps_records(case: conformance.Case) -> None:
    url = stores.redis().replace("redis://", "redis+pubsub://")
    conformance.run(case, lambda: open_backend(url))


# Stores that are wiped, or lose their newest changes


def test_the_changes_of_a_flushed_redis_are_whole(server: RedisServer) -> None:
    asyncio.run(
        cases.changes_of_a_wiped_store_are_whole(
            lambda: open_backend(server.url), lambda: in_thread(lambda: server.ask("FLUSHALL"))
        )
    )


@pytest.mark.parametrize("wipe", [EMPTY, EMPTY.replace(".record", ".record_head, {}.record"), "DROP SCHEMA {} CASCADE"])
def test_the_changes_of_a_wiped_database_are_whole(wipe: str) -> None:
    url = stores.postgres()
    asyncio.run(
        cases.changes_of_a_wiped_store_are_whole(lambda: open_backend(url), lambda: asyncio.to_thread(sql, wipe, url))
    )


def test_an_open_backend_learns_that_redis_was_flushed(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await put(backend, "a")
            cursor = (await backend.record_changes(None)).cursor
            await in_thread(lambda: server.ask("FLUSHALL"))
            changes = await backend.record_changes(cursor)
            assert changes.whole
            assert not changes.records
            assert changes.cursor.epoch != cursor.epoch

    asyncio.run(go())


@pytest.mark.parametrize("store", ["redis", "postgres"])
def test_versions_that_are_used_again_after_a_loss_belong_to_another_epoch(store: str, server: RedisServer) -> None:
    url = server.url if store == "redis" else stores.postgres()

    def lose() -> None:
        if store == "postgres":
            sql(LOSE_NEWEST, url)
            return
        script = "redis.call('HDEL', KEYS[1], 'token\\0b') redis.call('HSET', KEYS[1], 'version', 1, 'live', 1)"
        server.ask("EVAL", script, "1", KEYS[0])

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            a, _ = await put(one, "a"), await put(one, "b")
            known = (await two.record_changes(None)).cursor
            await one.record_changes(None)
            await asyncio.to_thread(lose)
            again = await put(one, "c")
            assert again.version == known.seq
            changes = await two.record_changes(known)
            assert changes.whole
            assert list(changes.records) == [a, again]

    asyncio.run(go())


@pytest.mark.parametrize("evicted", KEYS[1:])
def test_an_index_that_redis_evicted_is_built_again(evicted: str, server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            a, b = await put(backend, "a", b"1+2"), await put(backend, "b")
            gone = await put(backend, "b", None, b.version)
            cursor = (await backend.record_changes(None)).cursor
            await in_thread(lambda: server.ask("UNLINK", evicted))
            assert await backend.scan_records("token") == [a]
            await in_thread(lambda: server.ask("UNLINK", evicted))
            changes = await backend.record_changes(Cursor(cursor.epoch, a.version))
            assert (list(changes.records), changes.whole) == ([gone], False)
            await in_thread(lambda: server.ask("UNLINK", evicted))
            c = await put(backend, "c")
            assert await backend.scan_records("token") == [a, c]
            assert (await backend.record_changes(cursor)).records == [c]

    asyncio.run(go())


# Rights, order and cost


def test_a_put_without_rights_changes_nothing(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as owner:
            first = await put(owner, "a", b"1")
            cursor = (await owner.record_changes(None)).cursor
            for right in ("-hset", "-zadd", "-zrem"):
                server.ask("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "&*", "+@all", right)
                async with open_backend(server.url.replace("//", "//bob:pw@")) as backend:
                    for value in (b"2", None):
                        with pytest.raises(StoreError):
                            await put(backend, "a", value, first.version)
            assert await owner.get_record("token", "a") == first
            assert not (await owner.record_changes(cursor)).records

    asyncio.run(go())


def test_a_change_is_not_visible_before_earlier_versions() -> None:
    url = stores.postgres()
    earlier = f"SELECT {schema_of(url)}.put_record('token', 'first', '', 0, '', 0, '')"

    async def go() -> None:
        async with open_backend(url) as backend:
            cursor = (await backend.record_changes(None)).cursor
            connection = await asyncpg.connect(stores.postgres_server().url)
            try:
                async with connection.transaction():
                    assert await connection.fetchval(earlier) == 1
                    putting = asyncio.ensure_future(put(backend, "second"))
                    while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    assert not (await backend.record_changes(cursor)).records
                assert (await putting).version == 2
                found = (await backend.record_changes(cursor)).records
                assert [record.key for record in found] == ["first", "second"]
            finally:
                await connection.close()

    asyncio.run(go())


def test_looking_for_changes_is_one_command(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await put(backend, "a")
            cursor = (await backend.record_changes(None)).cursor
            before = [calls_of(server, name) for name in ("evalsha", "eval", "hget", "zrangebyscore")]
            for _ in range(10):
                assert (await backend.record_changes(cursor)).cursor == cursor
            after = [calls_of(server, name) for name in ("evalsha", "eval", "hget", "zrangebyscore")]
            assert [now - then for now, then in zip(after, before, strict=True)] == [10, 0, 0, 0]

    asyncio.run(go())


@pytest.mark.parametrize("limit", ["number", "bytes"])
def test_many_records_are_read_in_pages(limit: str, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_records, "PAGE", 10 if limit == "number" else 1_000)
    value = b"x" if limit == "number" else b"x" * 65_536
    keys = [f"k{n:02}" for n in range(40)]

    async def go() -> None:
        async with open_backend(server.url) as backend:
            written = [await put(backend, key, value) for key in keys]
            before = calls_of(server, "evalsha") + calls_of(server, "eval")
            assert await backend.scan_records("token", "k") == written
            changes = await backend.record_changes(None)
            assert list(changes.records) == written
            assert calls_of(server, "evalsha") + calls_of(server, "eval") - before >= 6
            gone = [await put(backend, record.key, None, record.version) for record in written[:20]]
            assert list((await backend.record_changes(changes.cursor)).records) == gone
            assert list((await backend.record_changes(None)).records) == written[20:]

    asyncio.run(go())


def test_a_prefix_and_the_newest_changes_are_found_by_an_index() -> None:
    url = stores.postgres()
    fill = "INSERT INTO {}.record SELECT 'token', convert_to(n || '/x', 'UTF8'), '', n FROM generate_series(1, 20000) n"
    queries: dict[str, Callable[[], object]] = {
        "record_pkey": partial(
            sql, "EXPLAIN SELECT * FROM {}.record WHERE kind = 'token' AND key >= '7/' AND key < '\\x372fff'", url
        ),
        "record_version_key": partial(sql, "EXPLAIN SELECT * FROM {}.record WHERE version > 19990", url),
    }

    async def go() -> None:
        async with open_backend(url):
            await asyncio.to_thread(sql, fill, url)
            await asyncio.to_thread(sql, "ANALYZE {}.record", url)
            for index, explain in queries.items():
                assert index in str(await asyncio.to_thread(explain))

    asyncio.run(go())
