"""PostgreSQL: batches are notified after their commits, also those of a process that ends in between."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import asyncpg
import pytest
import stores
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_backends import has_reached, opened, schema_of, sql, terminate_listeners

from chatkit.backends.conformance.suite import drafts_in, texts, until
from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.postgres import PostgresBackend, batch_numbers, listener
from chatkit.backends.postgres.connection import PostgresEndpoint
from chatkit.backends.postgres.listener import PostgresListener, RoomHeads
from chatkit.backends.postgres.notifications import AppendedPayload, decode_payload
from chatkit.backends.postgres.payload_writer import AppendedBatch, appended_rooms, encode_appended
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.backends.postgres.writer import Batch
from chatkit.core.backend import Backend, MessageRedacted, Reconnected, RoomAdvanced
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Message, Receipt
from chatkit.errors import Unavailable

# What a process does that is killed after its commit.
COMMIT_ONLY = "SELECT * FROM {}.append_to_room('a', ARRAY['ann'], ARRAY['unheard'], NULL, NULL, NULL, NULL)"
PAYLOAD_BYTES = 8_000  # from which on PostgreSQL refuses a payload

drafts = st.builds(
    Draft,
    room=st.sampled_from(["a", "b"]),
    sender=st.sampled_from(["ann", "bob"]),
    body=st.text(max_size=20) | st.just("long " * 2_000),
    data=st.none() | st.lists(st.integers(), max_size=3),
    key=st.sampled_from([None, None, "k", "l"]),
    verified=st.booleans(),
    bot=st.booleans(),
)
batches = st.lists(st.lists(drafts, min_size=1, max_size=6), min_size=1, max_size=4)


@pytest.mark.parametrize("is_followed", [False, True])
def test_a_batch_whose_process_ended_before_its_notification_is_found(
    is_followed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "PING_EVERY_S", 0.05)
    url = stores.emptied_postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await two.watch("a")
            await one.append(drafts_in("a", 1))
            await until(two.notifications(), lambda item: has_reached(1, item))
            await asyncio.to_thread(sql, COMMIT_ONLY, url)
            if is_followed:
                await one.append(drafts_in("b", 1))
            epoch = (await one.read("a")).head.epoch
            await until(two.notifications(), lambda item: item == RoomAdvanced("a", 2, epoch=epoch))
            assert await texts(two, "a") == ["1", "unheard"]

    asyncio.run(main())


def test_a_running_batch_is_found_after_its_late_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(batch_numbers, "MAX_CHECKS", 10_000)
    url = stores.emptied_postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await two.watch("a")
            await one.append(drafts_in("a", 1))
            await until(two.notifications(), lambda item: has_reached(1, item))
            late = asyncio.create_task(
                asyncio.to_thread(sql, f"BEGIN; {COMMIT_ONLY}; SELECT pg_sleep(0.3); COMMIT", url)
            )
            await until(two.notifications(), lambda item: has_reached(2, item))
            await late

    asyncio.run(main())


class ForgetfulConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that is lost after the commit of a message `unanswered`, or before the NOTIFY of `unnotified`."""

    lost: ClassVar[list[str]] = []

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        row = await super().fetchrow(query, *args, **options)
        if "append" in query and args[2] == ["unanswered"]:
            self.lose("unanswered")
        return row

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        if "pg_notify" in query and "unnotified" in str(args):
            self.lose("unnotified")
        return await super().execute(query, *args, **options)

    def lose(self, what: str) -> None:
        self.lost.append(what)
        self.terminate()
        raise ConnectionResetError


def forgetful(url: str) -> PostgresBackend:
    dsn = url.partition("?")[0]
    connect = partial(asyncpg.connect, dsn, connection_class=ForgetfulConnection)
    return PostgresBackend(dsn, schema=schema_of(url), connect=connect)


def test_a_batch_whose_answer_was_lost_is_notified_also_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PING_EVERY_S", 0.05)
    url = stores.emptied_postgres()

    async def main() -> None:
        async with forgetful(url) as own, opened(url, 1) as (other,):
            await own.append(drafts_in("a", 1))
            for each in (own, other):
                await each.watch("a")
            n_lost = len(ForgetfulConnection.lost)
            with pytest.raises(Unavailable):
                await own.append(drafts_in("a", "unanswered"))
            assert ForgetfulConnection.lost[n_lost:] == ["unanswered"]
            for each in (own, other):
                await until(each.notifications(), lambda item: has_reached(2, item))
            monkeypatch.setattr(listener, "PING_EVERY_S", 60)
            notified: list[Message] = []
            for seq in (3, 4):  # the last comparison of rooms may find one of them before its notification arrives
                await other.append(drafts_in("a", seq))
                seen = await until(own.notifications(), partial(has_reached, seq))
                notified += [message for item in seen if isinstance(item, RoomAdvanced) for message in item.messages]
            assert {message.seq for message in notified} & {3, 4}

    asyncio.run(main())


def test_a_running_batch_is_found_after_the_listener_has_connected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PING_EVERY_S", 60)
    monkeypatch.setattr(batch_numbers, "MAX_CHECKS", 10_000)
    url = stores.emptied_postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await two.watch("a")
            await one.append(drafts_in("a", 1))
            await until(two.notifications(), lambda item: has_reached(1, item))
            late = await asyncpg.connect(stores.postgres_server().url)
            try:
                async with late.transaction():
                    await late.fetch(COMMIT_ONLY.format(schema_of(url)))
                    monkeypatch.setattr(listener, "PING_EVERY_S", 0.05)
                    await asyncio.to_thread(terminate_listeners, url)
                    await until(two.notifications(), lambda item: item == Reconnected())
                await until(two.notifications(), lambda item: has_reached(2, item))
            finally:
                await late.close()

    asyncio.run(main())


def test_after_a_failed_notification_the_rooms_are_compared() -> None:
    """The database may have lost the batch, by a failover: its messages must not be delivered then."""
    url = stores.emptied_postgres()

    async def main() -> None:
        async with forgetful(url) as one, opened(url, 1) as (two,):
            await two.watch("a")
            n_lost = len(ForgetfulConnection.lost)
            (receipt,) = await one.append(drafts_in("a", "unnotified"))
            compared = RoomAdvanced("a", 1, epoch=receipt.message.epoch)
            items = await until(two.notifications(), lambda item: has_reached(1, item))
            assert items == [compared]
            assert ForgetfulConnection.lost[n_lost:] == ["unnotified"]

    asyncio.run(main())


def test_a_batch_of_a_process_of_version_7_is_notified() -> None:
    url = stores.emptied_postgres()
    old = """
        SELECT * FROM {}.append('other', 1, ARRAY['a'], ARRAY[1], ARRAY['ann'], ARRAY['old'],
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, '[[1,"ann","old",null,null]]')
    """

    async def main() -> None:
        async with opened(url, 1) as (two,):
            await two.watch("a")
            await asyncio.to_thread(sql, old, url)
            (item,) = await until(two.notifications(), lambda item: has_reached(1, item))
            assert isinstance(item, RoomAdvanced)
            assert [message.body for message in item.messages] == ["old"]

    asyncio.run(main())


async def append_all(backend: Backend, rooms: str, given_batches: list[list[Draft]]) -> list[Receipt]:
    """Append to rooms whose names begin with `rooms`."""
    receipts: list[Receipt] = []
    for batch in given_batches:
        receipts += await backend.append([in_room(draft, rooms + draft.room) for draft in batch])
    return receipts


def in_room(draft: Draft, room: str) -> Draft:
    return Draft(room, draft.sender, draft.body, draft.data, draft.key, draft.verified, draft.bot)


def without_place(message: Message) -> tuple[object, ...]:
    return (
        *(message.room[-1], message.seq, message.sender, message.body, message.data, message.key),
        *(message.verified, message.bot),
    )


def test_a_batch_of_one_room_is_appended_as_by_the_general_statement() -> None:
    """`append_to_room` is the fast path of `append`."""
    url, counter = stores.emptied_postgres(), iter(range(1_000_000))

    async def check(backend: Backend, given_batches: list[list[Draft]]) -> None:
        number = next(counter)
        fast = await append_all(backend, f"fast{number}-", given_batches)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Batch, "is_in_one_room", False)
            general = await append_all(backend, f"general{number}-", given_batches)
        for one, other in zip(fast, general, strict=True):
            assert without_place(one.message) == without_place(other.message)
            assert (one.repeat, one.conflict) == (other.repeat, other.conflict)
        for room in ("a", "b"):
            pages = [(await backend.read(f"{kind}{number}-{room}", limit=100)).messages for kind in ("fast", "general")]
            assert list(map(without_place, pages[0])) == list(map(without_place, pages[1]))

    with asyncio.Runner() as runner:
        backend = runner.run(PostgresBackend(url.partition("?")[0], schema=schema_of(url)).__aenter__())

        @settings(max_examples=15, deadline=None)
        @given(batches)
        def compare(given_batches: list[list[Draft]]) -> None:
            runner.run(check(backend, given_batches))

        try:
            compare()
        finally:
            runner.run(backend.__aexit__(None, None, None))


@given(batches)
def test_payloads_carry_batches_unchanged(given_batches: list[list[Draft]]) -> None:
    lasts = {"a": 0, "b": 0}
    sent: list[AppendedBatch] = []
    expected: list[Message] = []
    for number, batch in enumerate(given_batches, 1):
        receipts = []
        for draft in batch:
            lasts[draft.room] += 1
            receipts.append(Receipt(draft.to_message("epoch", lasts[draft.room], number)))
        expected += [receipt.message for receipt in receipts]
        sent.append(AppendedBatch(number, 10 - number, appended_rooms(receipts)))
    payloads = encode_appended("me", sent)
    assert max(len(payload.encode()) for payload in payloads) < PAYLOAD_BYTES
    decoded = [payload for payload in map(decode_payload, payloads) if isinstance(payload, AppendedPayload)]
    assert [number for payload in decoded for number in payload.numbers] == list(range(1, len(sent) + 1))
    assert decoded[-1].redactions == 10 - len(sent)
    for room in ("a", "b"):
        position = 0
        for item in (item for payload in decoded for item in payload.to_notifications({room}, 0)):
            own = [message for message in expected if message.room == room]
            carried = list(item.messages)
            assert carried in ([], own[position : item.last])
            assert item.epoch == "epoch"
            position = item.last
        assert position == lasts[room]


def test_bodies_that_no_payload_carries_are_not_kept() -> None:
    long = [Receipt(Draft("a", "ann", "x" * 4_000).to_message("epoch", seq, 0)) for seq in (1, 2)]
    assert [room.messages for room in appended_rooms(long)] == [()]
    assert [room.messages for room in appended_rooms(long[:1])] == [[long[0].message]]


def test_nothing_is_sent_for_no_batches() -> None:
    assert encode_appended("me", []) == []


def test_references_and_mentions_are_carried() -> None:
    draft = Draft("a", "ann", "uno", of=1, act=Act.EDIT, mentions=("bob",))
    receipt = Receipt(draft.to_message("epoch", 2, 3))
    (encoded,) = encode_appended("me", [AppendedBatch(1, 0, appended_rooms([receipt]))])
    payload = decode_payload(encoded)
    assert isinstance(payload, AppendedPayload)
    assert payload.to_notifications({"a"}, 0) == [RoomAdvanced("a", 2, [receipt.message], "epoch")]


def test_a_payload_that_a_redaction_has_overtaken_carries_no_message() -> None:
    receipt = Receipt(Draft("a", "ann", "secret").to_message("epoch", 1, 0))
    (encoded,) = encode_appended("other", [AppendedBatch(1, 4, appended_rooms([receipt]))])
    payload = decode_payload(encoded)
    assert isinstance(payload, AppendedPayload)
    assert payload.to_notifications({"a"}, 4) == [RoomAdvanced("a", 1, [receipt.message], "epoch")]
    assert payload.to_notifications({"a"}, 5) == [RoomAdvanced("a", 1, [], "epoch")]


def test_notifications_of_a_room_come_in_order() -> None:
    url = stores.emptied_postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            first, second = [await one.append(drafts_in("a", body)) for body in ("first", "second")]
            await two.watch("a")
            for receipts in (second, first):
                (payload,) = encode_appended("other", [AppendedBatch(1, 0, appended_rooms(receipts))])
                await asyncio.to_thread(sql, f"SELECT pg_notify('chatkit:{{}}', '{payload}')", url)
            await one.append(drafts_in("a", "third"))
            items = await until(two.notifications(), lambda item: has_reached(3, item))
            lasts = [item.last for item in items if isinstance(item, RoomAdvanced)]
            assert lasts == sorted(lasts)
            assert len(set(lasts)) == len(lasts)

    asyncio.run(main())


def test_a_late_notification_of_a_deleted_log_does_not_hide_the_deletion() -> None:
    url = stores.emptied_postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            await two.watch("a")
            receipts = await one.append(drafts_in("a", 1))
            await until(two.notifications(), lambda item: has_reached(1, item))
            await one.delete_room("a")
            (late,) = encode_appended("other", [AppendedBatch(1, 0, appended_rooms(receipts))])
            await asyncio.to_thread(sql, f"SELECT pg_notify('chatkit:{{}}', '{late}')", url)
            (newest,) = await one.append(drafts_in("a", 2))
            items = await until(two.notifications(), lambda item: has_reached(1, item))
            assert {item.epoch for item in items if isinstance(item, RoomAdvanced)} == {newest.message.epoch}

    asyncio.run(main())


def test_a_payload_between_two_queries_of_a_comparison_shows_no_redacted_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MAX_HEADS_A_QUERY", 1)
    receipts = [Receipt(Draft(room, "ann", "secret").to_message("epoch", 1, 0)) for room in ("a", "b")]
    (late,) = encode_appended("other", [AppendedBatch(1, 4, appended_rooms(receipts))])
    notifications, asked = NotificationQueue(), list[str]()

    async def read_heads(names: Sequence[str], _: int | None) -> RoomHeads:
        asked.extend(names)
        if len(asked) == 2:
            listening._on_payload(no_connection, 0, "", late)
            listening.unwatch(asked[1])
        return RoomHeads("epoch", dict.fromkeys(names, ("epoch", 0)), 5, [(room, 1) for room in ("a", "b")])

    no_connection: Any = None
    endpoint = PostgresEndpoint.of("", "", cached_statements=0)
    listening = PostgresListener(endpoint, PostgresSchema("none", ""), "me", notifications, read_heads)
    listening.watched.update(("a", "b"))
    listening._redactions = 4

    async def main() -> None:
        await listening._resync(no_connection)
        notifications.close()
        items = [item async for item in notifications.read()]
        assert MessageRedacted(asked[0], 1) in items
        assert [item.messages for item in items if isinstance(item, RoomAdvanced) and item.messages] == []
        assert set(listening._notified) == {asked[0]}  # nothing is kept of a room that was unwatched during it

    asyncio.run(main())
