"""A store that becomes unavailable and returns: signals, health, and reading continues."""

import asyncio
from pathlib import Path

import pytest
from faulty_backend import Faults, Forgetful
from harness import draft, drain, publish_all, run, turns, until
from session_host import Host, hosted

from chatkit.backends.sqlite import SqliteBackend
from chatkit.core import room
from chatkit.core.backend import Disconnected, Reconnected, RoomAdvanced
from chatkit.core.history import read_history
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Draft, Gap, Message
from chatkit.core.signals import Signal, Typing
from chatkit.core.subscription import Item, Subscription

pytestmark = pytest.mark.usefixtures("no_pauses")


def test_a_client_is_notified_once_of_an_unavailable_store_and_once_of_its_return() -> None:
    async def test(host: Host) -> None:
        client, text = await host.json("ops"), await host.text("ops")
        await client.ask("join", room="dev")  # one notice for both rooms
        host.backend.inject(Disconnected("the connection was lost"))
        await until(lambda: host.hub.fault == "the connection was lost")
        host.backend.inject(Disconnected("and again"))
        host.backend.inject(Reconnected())
        await until(lambda: client.socket.of_type("restored"))
        assert host.hub.fault is None
        (error,) = client.socket.of_type("error")
        assert error == {
            "type": "error",
            "code": "unavailable",
            "message": "the store is unavailable: the connection was lost",
        }
        assert client.socket.of_type("restored") == [{"type": "restored"}]
        assert text.socket.texts[-2:] == [
            b"! the store is unavailable: the connection was lost",
            b"! the store is available again",
        ]

    hosted(test)


def test_members_are_announced_again_when_the_store_is_available(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "rooms.db"
        async with Faults(SqliteBackend(path)) as one, SqliteBackend(path) as two, Hub(one) as hub, Hub(two) as other:
            await hub.subscribe("ops", member="ann")
            await until(lambda: other.count("ops") == 1)
            process = hub._presence._process
            forget = "DELETE FROM process WHERE name = ?"
            await two._writer.run(lambda connection: connection.execute(forget, [process]))
            await until(lambda: other.count("ops") == 0)
            one.inject(Reconnected())
            await until(lambda: other.count("ops") == 1)

    run(main())


def test_a_log_that_started_again_is_detected_by_its_epoch_alone() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, "old", 2)
            received: list[Item] = []
            reader = await hub.subscribe("ops")
            reading = asyncio.ensure_future(_collect(reader, received))
            backend.wipe()
            (receipt,) = await backend.inner.append([draft("new")])
            backend.inject(RoomAdvanced("ops", 1, epoch=receipt.message.epoch))
            await until(lambda: len(received) == 2)
            assert isinstance(received[0], Gap)
            assert received[0].reason == "epoch"
            assert isinstance(received[1], Message)
            assert received[1].body == "new"
            reader.close()
            await reading

    run(main())


def test_a_reader_at_position_0_gets_no_gap_when_a_log_starts_again() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, "hi")
            with await hub.subscribe("ops", after=Cursor("another", 0)) as reader:
                (message,) = await reader.read()
                assert isinstance(message, Message)
                assert message.body == "hi"
            past = await read_history(backend, "ops", after=Cursor("another", 0), limit=10)
            assert past.gap is None
            assert [message.body for message in past.messages] == ["hi"]

    run(main())


def test_typing_reaches_readers_of_other_processes_and_own_readers_once(tmp_path: Path) -> None:
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


def test_without_history_messages_notified_while_a_room_is_opened_are_not_lost() -> None:
    async def main() -> None:
        async with Faults(Forgetful()) as backend, Hub(backend) as hub:
            backend.is_deaf = True
            await backend.inner.append([draft("before")])
            release = backend.hold("read", old_answer=True)
            opening = asyncio.ensure_future(hub.subscribe("ops"))
            await until(lambda: backend.calls["read"])
            await turns()
            messages = [receipt.message for receipt in await backend.inner.append([draft("a"), draft("b"), draft("c")])]
            for message in messages:
                backend.inject(RoomAdvanced("ops", message.seq, [message]))
            await turns()
            release.set()
            reader = await opening
            at = reader.position
            (next_,) = await backend.inner.append([draft("d")])
            backend.inject(RoomAdvanced("ops", 5, [next_.message]))
            assert [*messages, next_.message][at - 1 :] == list(await reader.read())
            assert not await drain(reader)
            reader.close()

    run(main())


def test_without_history_a_reader_gets_new_messages_and_a_gap_for_missed_ones() -> None:
    async def main() -> None:
        async with Faults(Forgetful()) as backend, Hub(backend) as hub:
            await publish_all(hub, "before", "that", "too")
            received: list[Item] = []
            reader = await hub.subscribe("ops", history=10)
            reading = asyncio.ensure_future(_collect(reader, received))
            await publish_all(hub, "live")
            await until(lambda: len(received) == 1)
            epoch = reader.epoch
            # Notifications of two messages are lost; the one after them arrives.
            lost = [receipt.message for receipt in await backend.inner.append([draft("a"), draft("b"), draft("c")])]
            backend.inject(RoomAdvanced("ops", 7, lost[2:]))
            await until(lambda: len(received) == 3)
            assert received[1] == Gap(4, 7, "no-history")
            assert [item.body for item in received if isinstance(item, Message)] == ["live", "c"]
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


def test_a_slow_reader_without_history_continues_at_the_start_of_the_tail(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def _collect(reader: Subscription, received: list[Item]) -> None:
    while items := await reader.read():
        received += items
