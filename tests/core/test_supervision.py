"""A store that goes away and comes back: readers are told, the health says so, and everything is read on."""

import asyncio
from pathlib import Path

import pytest
from harness import Faults, Forgetful, draft, drain, run, say, turns, until
from session_host import Host, hosted

from chatkit.backends.sqlite import SqliteBackend
from chatkit.core import room
from chatkit.core.backend import Disconnected, Reconnected, RoomAdvanced
from chatkit.core.history import read_history
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Draft, Gap, Message
from chatkit.core.room import Signal, Typing
from chatkit.core.subscription import Item, Subscription

pytestmark = pytest.mark.usefixtures("no_pauses")


def test_a_client_is_told_once_that_the_store_is_away_and_once_that_it_is_back() -> None:
    async def test(host: Host) -> None:
        client, text = await host.json("ops"), await host.text("ops")
        await client.ask("join", room="dev")  # of two rooms, one word
        host.backend.tell(Disconnected("the link broke"))
        await until(lambda: host.hub.fault == "the link broke")
        host.backend.tell(Disconnected("and again"))
        host.backend.tell(Reconnected())
        await until(lambda: client.socket.of_type("restored"))
        assert host.hub.fault is None
        (error,) = client.socket.of_type("error")
        assert error == {"type": "error", "code": "unavailable", "message": "the store is away: the link broke"}
        assert client.socket.of_type("restored") == [{"type": "restored"}]
        assert text.socket.texts[-2:] == [b"! the store is away: the link broke", b"! the store is back"]

    hosted(test)


def test_what_was_announced_is_announced_again_when_the_store_is_back(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with Faults(SqliteBackend(path)) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            await hub.subscribe("ops", member="ann")
            await until(lambda: other.count("ops") == 1)
            process = hub._attendance._process
            forget = "DELETE FROM process WHERE name = ?"
            await two._writer.run(lambda connection: connection.execute(forget, [process]))
            await until(lambda: other.count("ops") == 0)
            one.tell(Reconnected())
            await until(lambda: other.count("ops") == 1)

    run(main())


def test_a_log_that_began_anew_is_found_by_its_epoch_alone() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, "old", 2)
            heard: list[Item] = []
            reader = await hub.subscribe("ops")
            reading = asyncio.ensure_future(_collect(reader, heard))
            backend.wipe()
            (receipt,) = await backend.inner.append([draft("new")])
            backend.tell(RoomAdvanced("ops", 1, epoch=receipt.message.epoch))
            await until(lambda: len(heard) == 2)
            assert isinstance(heard[0], Gap)
            assert heard[0].reason == "epoch"
            assert isinstance(heard[1], Message)
            assert heard[1].body == "new"
            reader.close()
            await reading

    run(main())


def test_who_had_nothing_yet_misses_nothing_of_a_log_that_began_anew() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await say(hub, "hi")
            with await hub.subscribe("ops", after=Cursor("another", 0)) as reader:
                (message,) = await reader.read()
                assert isinstance(message, Message)
                assert message.body == "hi"
            past = await read_history(backend, "ops", after=Cursor("another", 0), limit=10)
            assert past.gap is None
            assert [message.body for message in past.messages] == ["hi"]

    run(main())


def test_who_is_writing_is_told_to_the_readers_of_other_processes_and_once_to_ones_own(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with SqliteBackend(path) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            here: list[Signal] = []
            there: list[Signal] = []
            await hub.subscribe("ops", on_signal=here.append)
            await other.subscribe("ops", on_signal=there.append)
            await other.subscribe("dev", on_signal=there.append)
            hub.typing("ops", "ann")
            await until(lambda: there)
            other.typing("ops", "bob")
            await until(lambda: len(here) == 2)
            assert here == [Typing("ops", "ann"), Typing("ops", "bob")]
            assert there == [Typing("ops", "ann"), Typing("ops", "bob")]

    run(main())


def test_without_history_what_is_heard_while_a_room_is_being_opened_is_not_lost() -> None:
    async def main() -> None:
        async with Faults(Forgetful()) as backend, Hub(backend) as hub:
            backend.is_deaf = True
            await backend.inner.append([draft("before")])
            gate = backend.hold("read", old_answer=True)
            opening = asyncio.ensure_future(hub.subscribe("ops"))
            await until(lambda: backend.calls["read"])
            await turns()
            said = [receipt.message for receipt in await backend.inner.append([draft("a"), draft("b"), draft("c")])]
            for message in said:
                backend.tell(RoomAdvanced("ops", message.seq, [message]))
            await turns()
            gate.set()
            reader = await opening
            at = reader.position
            (next_,) = await backend.inner.append([draft("d")])
            backend.tell(RoomAdvanced("ops", 5, [next_.message]))
            assert [*said, next_.message][at - 1 :] == list(await reader.read())
            assert not await drain(reader)
            reader.close()

    run(main())


def test_without_history_a_reader_hears_what_comes_and_is_told_what_it_missed() -> None:
    async def main() -> None:
        async with Faults(Forgetful()) as backend, Hub(backend) as hub:
            await say(hub, "before", "that", "too")
            heard: list[Item] = []
            reader = await hub.subscribe("ops", history=10)
            reading = asyncio.ensure_future(_collect(reader, heard))
            await say(hub, "live")
            await until(lambda: len(heard) == 1)
            epoch = reader.epoch
            # Two messages of another process are lost on their way; the one after them comes.
            lost = [receipt.message for receipt in await backend.inner.append([draft("a"), draft("b"), draft("c")])]
            backend.tell(RoomAdvanced("ops", 7, lost[2:]))
            await until(lambda: len(heard) == 3)
            assert heard[1] == Gap(4, 7, "no-history")
            assert [item.body for item in heard if isinstance(item, Message)] == ["live", "c"]
            reader.close()
            await reading
            back = await hub.subscribe("ops", after=Cursor(epoch, 4))
            assert await back.read() == (Gap(4, 8, "no-history"),)
            with await hub.subscribe("ops", after=Cursor(epoch, 7)) as up_to_date:
                assert up_to_date.is_at_head
            back.close()
            past = await read_history(backend, "ops", after=Cursor(epoch, 2), limit=10)
            assert (past.gap, list(past.messages)) == (Gap(2, 8, "no-history"), [])

    run(main())


def test_a_slow_reader_without_history_goes_on_where_the_feed_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "UNKEPT_MESSAGES", 512)

    async def main() -> None:
        async with Faults(Forgetful()) as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            for n in range(20):
                await asyncio.gather(*(hub.publish(Draft("ops", "ann", f"{n}.{i}")) for i in range(100)))
            items: list[Item] = []
            while not items or not isinstance(items[-1], Message) or items[-1].seq < 2_000:
                items += await reader.read()
            assert isinstance(items[0], Gap)
            assert items[0].reason == "no-history"
            assert [item.seq for item in items if isinstance(item, Message)] == list(range(items[0].before, 2_001))
            reader.close()

    run(main())


async def _collect(reader: Subscription, heard: list[Item]) -> None:
    while items := await reader.read():
        heard += items
