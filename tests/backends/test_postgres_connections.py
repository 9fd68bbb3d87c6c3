"""Lost connections to PostgreSQL: killed, paused and wiped servers, and the notifications afterwards."""

import asyncio
import itertools
from collections.abc import Iterator
from functools import partial

import pytest
import stores
from copied_postgres import CopiedPostgresServer
from postgres_backends import eventually, fresh, has_reached, opened, schema_of, sql, terminate_listeners, until_stored

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, keyed_drafts, numbers_of, texts, until
from chatkit.backends.postgres import backend, listener, writer
from chatkit.bench.local.postgres import PostgresServer
from chatkit.core.backend import (
    Backend,
    Disconnected,
    MessageRedacted,
    PresenceChange,
    Reconnected,
    RoomAdvanced,
    Typing,
)
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Gap, Member, Message
from chatkit.errors import Unavailable


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that tests may kill and pause, if they leave it running."""
    with CopiedPostgresServer() as server:
        yield server


def test_no_message_is_lost_when_the_listening_connection_is_terminated() -> None:
    url = stores.postgres()

    async def follow(backend: Backend, received: list[Message], total: int) -> None:
        """Read as the hub does: read the room when a notification is ahead of what was received."""
        async for item in backend.notifications():
            if isinstance(item, RoomAdvanced) and item.last > len(received):
                received += (await backend.read("a", after=len(received), limit=1_000)).messages
            if len(received) == total:
                return

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await two.watch("a")
            received: list[Message] = []
            following = asyncio.ensure_future(follow(two, received, 300))
            for n in range(300):
                await one.append(drafts_in("a", n))
                if n % 100 == 50:
                    await asyncio.to_thread(terminate_listeners, url)
            await following
            assert [message.body for message in received] == [str(n) for n in range(300)]

    asyncio.run(main())


def test_a_redaction_while_disconnected_is_notified_after_reconnecting(server: PostgresServer) -> None:
    url = fresh(server)

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await two.watch("a")
            await one.append(drafts_in("a", 1, 2, 3))
            await until(two.notifications(), lambda item: isinstance(item, RoomAdvanced))
            await asyncio.to_thread(server.kill)
            await until(two.notifications(), lambda item: isinstance(item, Disconnected))
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(server.run_sql, f"SELECT {schema_of(url)}.redact('a', 2)")
            seen = await until(two.notifications(), lambda item: item == MessageRedacted("a", 2))
            if Reconnected() not in seen:
                await until(two.notifications(), lambda item: item == Reconnected())

    asyncio.run(main())


def test_a_killed_database_is_used_again_after_its_restart(server: PostgresServer) -> None:
    url = fresh(server)

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await one.append(keyed_drafts("a", 1))
            await two.read("a")
            await two.watch("a")
            await two.watch("never written to")
            server.kill()
            for call in (
                one.append(keyed_drafts("a", 2)),
                two.read("a"),
                one.rooms(),
                two.redact("a", 1),
                one.trim(keep=1),
            ):
                with pytest.raises(Unavailable):
                    await call
            await until(two.notifications(), lambda item: isinstance(item, Disconnected))
            server.start()
            (receipt,) = await one.append(keyed_drafts("a", 2))
            seen = await until(two.notifications(), lambda item: item == Reconnected())
            assert RoomAdvanced("never written to", 0, epoch=receipt.message.epoch) in seen
            if not any(has_reached(2, item) for item in seen):  # it was appended after the rooms were compared
                await until(two.notifications(), partial(has_reached, 2))
            assert await texts(two, "a") == ["1", "2"]

    asyncio.run(main())


def test_acknowledged_messages_survive_a_killed_server(server: PostgresServer) -> None:
    url = fresh(server)

    async def publish(backend: Backend, n: int, acknowledged: list[str]) -> None:
        for i in itertools.count():
            try:
                receipts = await backend.append(keyed_drafts("a", *(f"{n}.{i}.{j}" for j in range(20))))
            except Unavailable:
                return
            acknowledged += [receipt.message.body for receipt in receipts]

    async def main() -> None:
        acknowledged: list[str] = []
        async with opened(url, 3) as backends:
            tasks = [asyncio.ensure_future(publish(each, n, acknowledged)) for n, each in enumerate(backends)]
            while len(acknowledged) < 2_000:  # noqa: ASYNC110 - there is no event for this
                await asyncio.sleep(0)
            await asyncio.to_thread(server.kill)
            await asyncio.gather(*tasks)
            await asyncio.to_thread(server.start)
            page = await backends[0].read("a", after=0, limit=1_000_000)
            stored = [message.body for message in page.messages]
            assert numbers_of(page.messages) == list(range(1, len(stored) + 1))
            assert len(set(stored)) == len(stored)
            assert set(acknowledged) <= set(stored)

    asyncio.run(main())


def test_a_paused_database_is_unavailable_and_does_not_delay_closing(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shorten_timeouts() -> None:
        for module in (backend, writer):
            monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
        monkeypatch.setattr(backend, "LONG_S", 0.3)
        monkeypatch.setattr(listener, "PING_S", 0.3)
        monkeypatch.setattr(listener, "PING_EVERY_S", 0.1)

    url = fresh(server)

    async def main() -> None:
        paused = open_backend(url)
        async with open_backend(url) as other:
            async with paused:
                await paused.append(drafts_in("a", 1))
                await paused.watch("a")
                server.pause()
                shorten_timeouts()  # only now: opening a store takes longer on a busy machine
                try:
                    for _ in range(4):  # more calls than connections
                        for call in (paused.append(drafts_in("a", 2)), paused.read("a"), paused.rooms()):
                            with pytest.raises(Unavailable, match="has not answered"):
                                await call
                    await until(paused.notifications(), lambda item: isinstance(item, Disconnected))
                    await paused.__aexit__(None, None, None)
                finally:
                    server.resume()
            monkeypatch.undo()
            await until_stored(other, Draft("b", "ann", "goes on", key="k"))

    asyncio.run(main())


def test_reconnecting_compares_ten_thousand_rooms_with_few_statements(server: PostgresServer) -> None:
    url = fresh(server)
    schema = schema_of(url)

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            for n in range(10_000):
                await two.watch(f"room{n}")
            server.kill()
            await until(two.notifications(), lambda item: isinstance(item, Disconnected))
            server.start()
            server.run_sql("ALTER DATABASE postgres SET log_statement = 'all'")
            try:
                await until_stored(one, Draft("room77", "ann", "while disconnected", key="k"))
                seen = await until(two.notifications(), lambda item: item == Reconnected())
            finally:
                server.run_sql("ALTER DATABASE postgres RESET log_statement")
            if not any(isinstance(item, RoomAdvanced) and item.room == "room77" and item.last == 1 for item in seen):
                await until(two.notifications(), lambda item: getattr(item, "last", 0) == 1)
            assert len({item.room for item in seen if isinstance(item, RoomAdvanced)}) == 10_000
        assert server.log_text().count(f'FROM "{schema}".meta LEFT JOIN "{schema}".room') <= 3

    asyncio.run(main())


def test_an_unknown_payload_makes_every_process_compare_its_rooms() -> None:
    url = stores.postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await two.watch("a")
            (receipt,) = await one.append(drafts_in("a", 1))
            await until(two.notifications(), lambda item: isinstance(item, RoomAdvanced))
            await asyncio.to_thread(sql, "SELECT pg_notify('chatkit:{}', 'what is this?')", url)
            await until(two.notifications(), lambda item: item == RoomAdvanced("a", 1, epoch=receipt.message.epoch))

    asyncio.run(main())


def test_typing_is_notified_to_other_processes_that_watch_the_room() -> None:
    async def main() -> None:
        async with opened(stores.postgres(), 2) as (one, two):
            for each in (one, two):
                await each.watch("a")
            await one.typing("b", "ann")
            await one.typing("a", "ann")
            await two.typing("a", "bob")
            assert await until(two.notifications(), lambda item: isinstance(item, Typing)) == [Typing("a", "ann")]
            assert await until(one.notifications(), lambda item: isinstance(item, Typing)) == [Typing("a", "bob")]

    asyncio.run(main())


def test_members_are_announced_again_when_the_database_has_lost_them() -> None:
    url = stores.postgres()
    ann, bob = Member("ann", 1), Member("bob", 2)

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await one.announce("p1", joined=[("a", ann), ("a", bob)], left=[], ttl_s=60)
            (first,) = await two.poll_presence("p2")
            assert set(first.joined) == {("a", ann), ("a", bob)}
            await asyncio.to_thread(sql, "TRUNCATE {}.process, {}.member", url)  # as a crash does to unlogged tables
            assert await two.poll_presence("p2") == [PresenceChange("p1", whole=True)]
            await one.announce("p1", joined=[("b", ann)], left=[("a", bob)], ttl_s=60)
            (then,) = await two.poll_presence("p2")
            assert then.whole
            assert set(then.joined) == {("a", ann), ("b", ann)}

    asyncio.run(main())


def test_closing_while_connecting_leaves_no_connection() -> None:
    url = stores.postgres() + "&application_name=leaver"

    async def main() -> None:
        for turns in range(0, 60, 3):
            async with open_backend(url) as backend:
                reads = [asyncio.ensure_future(backend.read("a")) for _ in range(4)]
                for _ in range(turns):
                    await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) <= 1 + len(reads)  # no task of the backend remains
            for outcome in await asyncio.gather(*reads, return_exceptions=True):
                assert not isinstance(outcome, BaseException) or isinstance(outcome, Unavailable)
        await eventually(lambda: sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaver'") == "0")

    asyncio.run(main())


def test_a_database_that_lost_its_newest_messages_gets_a_new_epoch() -> None:
    url = stores.postgres()

    async def main() -> None:
        async with opened(url, 1) as (one,), Hub(one) as hub:
            for n in range(5):
                await hub.publish(Draft("ops", "ann", f"old {n + 1}"))
            with await hub.subscribe("ops", history=10) as reader:
                assert len(await reader.read()) == 5
                old = reader.epoch
                # As after a failover to a replica that was behind, or after restoring a backup.
                sql("DELETE FROM {}.message WHERE seq > 2; UPDATE {}.room SET last = 2", url)
                terminate_listeners(url)
                items = list(await reader.read())
                assert isinstance(items[0], Gap)
                assert (items[0].after, items[0].reason) == (5, "epoch")
                while len(items) < 3:
                    items += await reader.read()
                for n in range(3):
                    await hub.publish(Draft("ops", "ann", f"new {n}"))
                while len(items) < 6:
                    items += await reader.read()
                assert [item.body for item in items if isinstance(item, Message)] == [
                    *("old 1", "old 2"),
                    *("new 0", "new 1", "new 2"),
                ]
                assert reader.epoch != old

    asyncio.run(main())
