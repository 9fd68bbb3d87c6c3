"""The asyncio client against real servers: its guarantees in normal operation and after failures."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from serving import ServerProcess, serve

from chatkit.client import (
    Client,
    ConnectionLost,
    ConnectionRestored,
    Item,
    Joined,
    Presence,
    Redacted,
    RoomChanged,
    Signal,
)
from chatkit.client.admin import AdminClient
from chatkit.client.endpoint import Endpoint
from chatkit.core.model import Cursor, Gap, Message
from chatkit.errors import BadCursor, BadName, NotFound, TooLarge, Unavailable
from chatkit.wire.access import RoomSettingsChange

ValueT = TypeVar("ValueT")
PATIENCE_S = 60  # bounds a test that would hang; none waits for it


def run(test: Coroutine[Any, Any, ValueT]) -> ValueT:
    return asyncio.run(asyncio.wait_for(test, PATIENCE_S))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "0") as process:
        yield process


async def read_items(items: AsyncIterator[Item | Signal], count: int) -> list[Item | Signal]:
    return [await anext(items) for _ in range(count)]


async def bodies(items: AsyncIterator[Item | Signal], count: int) -> list[str]:
    """Read `count` messages, ignore signals, and check that the numbers have no hole and no repeat."""
    messages: list[Message] = []
    while len(messages) < count:
        item = await anext(items)
        assert not isinstance(item, Gap)
        if isinstance(item, Message):
            messages.append(item)
    assert all(two.seq == one.seq + 1 for one, two in pairwise(messages))
    return [message.body for message in messages]


def test_a_publish_returns_the_stored_message(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url, "ann") as client:
            receipt = await client.publish("stored", "hi\nthere", data={"n": [1]}, key="k1")
            assert not receipt.repeat
            assert (receipt.message.seq, receipt.message.sender) == (1, "ann")
            again = await client.publish("stored", "hi\nthere", data={"n": [1]}, key="k1")
            assert again.repeat
            assert again.message.seq == 1
            page = await client.history("stored")
            stored = page.messages[0]
            assert (stored.body, stored.data, stored.key) == ("hi\nthere", {"n": [1]}, "k1")
            assert (stored.cursor, page.cursor) == (receipt.message.cursor, receipt.message.cursor)
            assert page.complete

    run(test())


def test_concurrent_publishes_share_the_socket_and_are_each_stored_once(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url) as client:
            receipts = await asyncio.gather(*(client.publish("many", str(n)) for n in range(500)))
            assert [receipt.message.seq for receipt in receipts] == list(range(1, 501))
            assert [message.body async for message in client.scroll("many") if isinstance(message, Message)] == [
                str(n) for n in range(500)
            ]

    run(test())


def test_a_follow_begins_with_history_and_continues_live(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url) as client:
            await client.publish_all("live", ["1", "2", "3"])
            async with aclosing(client.follow("live", history=2)) as items:
                assert await bodies(items, 2) == ["2", "3"]
                await client.publish("live", "4")
                assert await bodies(items, 1) == ["4"]

    run(test())


def test_a_follow_resumes_from_a_cursor(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url) as client:
            first = await client.publish("resume", "1")
            await client.publish_all("resume", ["2", "3"])
            async with aclosing(client.follow("resume", after=str(first.message.cursor))) as items:
                assert await bodies(items, 2) == ["2", "3"]

    run(test())


def test_follows_of_several_rooms_and_two_of_one_room_are_independent(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url) as client:
            await client.publish_all("one", ["1", "2"])
            await client.publish_all("two", ["a", "b"])
            async with (
                aclosing(client.follow("one", history=2)) as one,
                aclosing(client.follow("two", history=2)) as two,
                aclosing(client.follow("one", history=1)) as one_again,
            ):
                got = await asyncio.gather(bodies(one, 2), bodies(two, 2), bodies(one_again, 1))
                assert list(got) == [["1", "2"], ["a", "b"], ["2"]]
                await client.publish("one", "3")
                assert await bodies(one, 1) == await bodies(one_again, 1) == ["3"]

    run(test())


def test_a_cursor_of_another_log_gives_a_gap(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url) as client:
            await client.publish("gap", "1")
            async with aclosing(client.follow("gap", after=Cursor("elsewhere", 7))) as items:
                gap, message = await read_items(items, 2)
                assert isinstance(gap, Gap)
                assert gap.reason == "epoch"
                assert isinstance(message, Message)
                assert message.body == "1"

    run(test())


def test_signals_report_presence_and_redactions(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url, "ann") as ann, Client(server.url, "bob") as bob:
            async with aclosing(ann.follow("signals", signals=True)) as items:
                joined = await anext(items)
                assert isinstance(joined, Joined)
                async with aclosing(bob.follow("signals", signals=True)) as others:
                    await anext(others)
                    await read_until(items, lambda item: isinstance(item, Presence) and "bob" in item.joined)
                    assert {member.name for member in await ann.members("signals")} == {"ann", "bob"}
                await read_until(items, lambda item: isinstance(item, Presence) and "bob" in item.left)
                receipt = await ann.publish("signals", "secret")
                await ann.redact("signals", receipt.message.seq)
                await read_until(items, lambda item: item == Redacted("signals", receipt.message.seq))
            assert (await ann.history("signals")).messages[0].redacted

    run(test())


def test_signals_report_changed_settings(server: ServerProcess) -> None:
    def set_topic() -> None:
        with AdminClient(Endpoint.parse(server.url, "bob", None)) as admin:
            admin.set_room("settings", RoomSettingsChange(topic="deploys"))

    async def test() -> None:
        async with (
            Client(server.url, "ann") as client,
            aclosing(client.follow("settings", signals=True)) as items,
        ):
            joined = await anext(items)
            assert isinstance(joined, Joined)
            assert joined.topic == ""
            await asyncio.to_thread(set_topic)
            await read_until(items, lambda item: item == RoomChanged("settings", "deploys", archived=False))

    run(test())


async def read_until(items: AsyncIterator[Item | Signal], holds: Any) -> None:
    while not holds(await anext(items)):
        pass


def test_a_reader_that_stalls_delays_no_publish_and_misses_nothing(server: ServerProcess) -> None:
    count = 6_000  # three times what a follow holds

    async def test() -> None:
        async with Client(server.url) as client:
            start = (await client.history("stall")).cursor
            async with aclosing(client.follow("stall", after=start)) as items:
                first = asyncio.create_task(bodies(items, 1))
                await client.publish("stall", "0")
                assert await first == ["0"]
                # Nothing is read now; publishing over the same socket continues.
                await client.publish_all("stall", (str(n) for n in range(1, count)))
                assert await bodies(items, count - 1) == [str(n) for n in range(1, count)]
                await client.publish("stall", "end")
                assert await bodies(items, 1) == ["end"]

    run(test())


def test_history_pages_search_and_filters(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url, "ann") as ann, Client(server.url, "bob") as bob:
            await ann.publish_all("past", [f"apple {n}" for n in range(5)])
            await bob.publish("past", "banana")
            page = await ann.history("past", after=2, limit=2)
            assert [message.seq for message in page.messages] == [3, 4]
            assert not page.complete
            assert (page.first, page.last) == (1, 6)
            assert [m.seq for m in (await ann.history("past", before=3)).messages] == [1, 2]
            assert [m.body for m in (await ann.history("past", search="BANANA")).messages] == ["banana"]
            assert [m.seq for m in (await ann.history("past", sender="bob")).messages] == [6]
            since = page.messages[0].time
            assert [m.seq for m in (await ann.history("past", since=since)).messages][-1] == 6
            assert not (await ann.history("past", until="2020-01-01T00:00:00Z")).messages
            assert "past" in {view.room for view in await ann.rooms()}
            assert (await ann.room("past")).last == 6

    run(test())


def test_invalid_parameters_raise_the_error_of_their_code(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url) as client:
            with pytest.raises(TooLarge) as too_large:
                await client.publish("wrong", "x" * 65_537)
            assert too_large.value.code == "body-too-large"
            assert too_large.value.max_bytes == 65_536
            with pytest.raises(BadName):
                await client.publish("no room", "hi")
            with pytest.raises(BadCursor):
                await client.history("wrong", after="no cursor")
            with pytest.raises(NotFound):
                await client.redact("wrong", 99)
            assert (await client.publish("wrong", "still here")).message.seq == 1

    run(test())


def test_publish_all_stops_at_an_invalid_message_and_commits_those_before(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url) as client:
            with pytest.raises(TooLarge):
                await client.publish_all("stops", ["1", "2", "x" * 70_000, "4"])
            assert [message.body for message in (await client.history("stops")).messages] == ["1", "2"]

    run(test())


def test_two_fast_clients_of_a_sender_wait_and_keep_the_order(tmp_path: Path) -> None:
    count = 2_000  # of each of two: a third more than the burst of 3,000 that a limit of 300 gives

    async def test(server: ServerProcess) -> None:
        async with Client(server.url, "ann") as one, Client(server.url, "ann") as two:
            # Each client limits its rate as if it were alone: so the server has to refuse, and both have to wait.
            await asyncio.gather(
                one.publish_all("fast", (f"one {n}" for n in range(count))),
                two.publish_all("fast", (f"two {n}" for n in range(count))),
            )
            stored = [item.body async for item in one.scroll("fast") if isinstance(item, Message)]
        for who in ("one", "two"):
            assert [body for body in stored if body.startswith(who)] == [f"{who} {n}" for n in range(count)]

    with serve(tmp_path / "rooms.db", "--rate-limit", "300") as server:
        run(test(server))


def test_a_killed_server_loses_repeats_and_reorders_nothing(tmp_path: Path) -> None:
    count = 20_000

    async def test(server: ServerProcess) -> None:
        seen: list[ConnectionLost | ConnectionRestored] = []
        is_back = asyncio.Event()

        def watch(signal: ConnectionLost | ConnectionRestored) -> None:
            seen.append(signal)
            if isinstance(signal, ConnectionRestored):
                is_back.set()

        async with (
            Client(server.url, "ann", watcher=watch) as client,
            Client(server.url, "bob") as reader,
            aclosing(reader.follow("killed", signals=True)) as items,
        ):
            assert isinstance(await anext(items), Joined)
            publishing = asyncio.create_task(client.publish_all("killed", (str(n) for n in range(count))))
            reading = asyncio.create_task(bodies(items, count))
            for life in range(1, 4):
                while await asyncio.to_thread(_last, server, "killed") < life * 1_000:  # noqa: ASYNC110  # it polls
                    await asyncio.sleep(0.01)
                is_back.clear()
                server.kill9()
                await asyncio.to_thread(server.start)
                await is_back.wait()
            assert await publishing == count
            assert await reading == [str(n) for n in range(count)]
        assert [type(signal) for signal in seen] == [ConnectionLost, ConnectionRestored] * 3

    with serve(tmp_path / "rooms.db", "--rate-limit", "0") as server:
        run(test(server))


def _last(server: ServerProcess, room: str) -> int:
    async def ask() -> int:
        async with Client(server.url) as client:
            return (await client.room(room)).last

    return asyncio.run(ask())


def test_a_client_that_gives_up_raises_unavailable(tmp_path: Path) -> None:
    async def test(server: ServerProcess) -> None:
        async with Client(server.url, give_up_after_s=0.2) as client:
            async with aclosing(client.follow("ops", signals=True)) as items:
                assert isinstance(await anext(items), Joined)
                server.kill9()
                with pytest.raises(Unavailable):
                    await read_until(items, lambda _: False)
            with pytest.raises(Unavailable):
                await client.publish("ops", "hi")

    with serve(tmp_path / "rooms.db") as server:
        run(test(server))


def test_closing_the_client_ends_the_calls_that_wait(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url) as client:
            follow = client.follow("ends", signals=True)
            assert isinstance(await anext(follow), Joined)
            waiting = asyncio.create_task(anext(follow))
            await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="closed"):
            await waiting
        await follow.aclose()
        with pytest.raises(Unavailable, match="not open"):
            await client.publish("ends", "hi")

    run(test())
