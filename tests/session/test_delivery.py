"""Deliveries: nothing is written to a full socket, and everything in the end."""

import asyncio
from random import Random

import pytest
from faulty_backend import Faults
from harness import draft, publish_all, run, turns, until
from recording_socket import RecordingSocket

from chatkit.core import segment as feed_module
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.segment import MAX_CHUNK_BYTES
from chatkit.core.subscription import Subscription
from chatkit.errors import Unavailable
from chatkit.session.delivery import Delivery
from chatkit.websocket.frames import text_frame


def frame(message: Message) -> bytes:
    return text_frame(b"%d" % message.seq + b" " * len(message.body))


def gap_frame(_: Subscription, gap: Gap) -> bytes:
    return text_frame(f"{gap.after}..{gap.before}".encode())


async def deliver(
    hub: Hub, socket: RecordingSocket, *, history: int = 0, after: Cursor | None = None, room: str = "ops"
) -> Delivery:
    delivery = Delivery(socket, frame, gap_frame, hub.spawn)
    delivery.start(await hub.subscribe(room, history=history, after=after, wake=delivery.wake))
    delivery.wake()
    return delivery


def seen(socket: RecordingSocket) -> list[str]:
    return [text.decode().strip() for text in socket.texts]


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last + 1)]


def test_due_and_new_messages_are_written_once_a_turn() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(10))
            socket = RecordingSocket()
            await deliver(hub, socket, history=4)
            assert seen(socket) == numbers(7, 10)
            await publish_all(hub, *range(10))
            await turns()
            assert seen(socket) == numbers(7, 20)
            assert socket.n_writes == 2

    run(main())


@pytest.mark.parametrize("history", [0, 4, 300, 850])
def test_history_and_then_new_messages_are_written_in_order(history: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(900))
            socket = RecordingSocket()
            await deliver(hub, socket, history=history)
            await publish_all(hub, *range(100))
            await until(lambda: seen(socket) == numbers(901 - history, 1000))
            writes = socket.n_writes
            await publish_all(hub, *range(100))
            await until(lambda: seen(socket) == numbers(901 - history, 1100))
            assert socket.n_writes == writes + 1

    run(main())


def test_a_full_socket_gets_nothing_and_catches_up_later() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            socket = RecordingSocket()
            delivery = await deliver(hub, socket)
            socket.is_writable = False
            backend.calls.clear()
            for _ in range(30):
                await publish_all(hub, *range(100))
            await turns()
            assert (socket.texts, backend.calls["read"]) == ([], 0)
            assert not delivery._is_catching_up
            socket.is_writable = True
            delivery.wake()
            await until(lambda: seen(socket)[-1:] == ["3000"])
            assert seen(socket) == ["0..2001", *numbers(2001, 3000)]  # the newest thousand stay in memory

    run(main())


@pytest.mark.parametrize("room_for", [1, 1000, 1 << 16, 3 << 16])
@pytest.mark.parametrize("size", [10, 5_000, 1 << 17])
def test_a_socket_that_is_repeatedly_full_gets_all_messages_in_order(room_for: int, size: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            n = 900 if size < 10_000 else 30
            await publish_all(hub, *("x" * size for _ in range(n)))
            socket = RecordingSocket()
            socket.room_for = room_for
            delivery = await deliver(hub, socket, history=n)
            for _ in range(5 * n):
                await until(lambda: not delivery._is_catching_up)
                if len(socket.texts) == n:
                    break
                before = sum(map(len, socket.texts))
                socket.room_for, socket.is_writable = room_for, True
                delivery.wake()
                await until(lambda: not delivery._is_catching_up)
                written = sum(map(len, socket.texts)) - before
                assert written <= room_for + MAX_CHUNK_BYTES + 2 * size
            assert seen(socket) == numbers(1, n)

    run(main())


@pytest.mark.parametrize("seed", range(10))
def test_no_message_is_lost_or_repeated_whatever_the_socket_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_CHUNK_MESSAGES", 7)
    random = Random(seed)

    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = random.randrange(3)
            await publish_all(hub, *range(600))
            socket = RecordingSocket()
            delivery = await deliver(hub, socket, history=590)
            for _ in range(150):
                step = random.randrange(5)
                if step == 0:
                    socket.is_writable = False
                elif step == 1:
                    socket.is_writable = True
                    delivery.wake()
                elif step == 2:
                    await publish_all(hub, *range(random.randrange(1, 4)))
                elif step == 3:
                    backend.failures = {"read": Unavailable("away")} if random.random() < 0.3 else {}
                await turns(random.randrange(6))
            backend.failures.clear()
            socket.is_writable = True
            delivery.wake()
            await publish_all(hub, "last")
            last = hub.heads()["ops"].last
            await until(lambda: seen(socket)[-1:] == [str(last)])
            assert seen(socket) == numbers(11, last)

    run(main())


def test_a_gap_is_written_at_its_position() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(10))
            epoch = (await hub.history("ops")).head.epoch
            await backend.trim(keep=2)
            socket = RecordingSocket()
            await deliver(hub, socket, after=Cursor(epoch, 3))
            await until(lambda: seen(socket) == ["3..9", "9", "10"])
            other = RecordingSocket()
            await deliver(hub, other, after=Cursor("other", 7))
            await until(lambda: seen(other) == ["7..9", "9", "10"])
            backend.wipe()
            await publish_all(hub, "new")
            await until(lambda: seen(socket)[3:] == seen(other)[3:] == ["10..1", "1"])

    run(main())


def test_an_unavailable_store_delays_a_delivery_without_loss(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(900))
            await hub.subscribe("ops")
            backend.failures["read"] = Unavailable("away")
            socket = RecordingSocket()
            await deliver(hub, socket, history=850)
            await turns()
            assert socket.texts == []
            backend.failures.clear()
            await until(lambda: seen(socket) == numbers(51, 900))

    run(main())


@pytest.mark.parametrize("history", [300, 850])
def test_a_closed_delivery_writes_no_messages_that_were_being_loaded(history: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(900))
            socket = RecordingSocket()
            await hub.subscribe("ops")
            release = backend.hold("read", old_answer=True)
            delivery = await deliver(hub, socket, history=history)
            await turns()
            delivery.close()
            delivery.close()
            release.set()
            await turns()
            assert socket.texts == []
            delivery.wake()

    run(main())


@pytest.mark.parametrize("history", [0, 300, 850])
@pytest.mark.parametrize("is_fetching", [False, True])
def test_a_hub_can_be_left_while_readers_are_behind(history: int, is_fetching: bool) -> None:
    async def main() -> None:
        async with Faults() as backend:
            async with Hub(backend) as hub:
                await publish_all(hub, *range(900))
                await hub.subscribe("ops")
                socket = RecordingSocket()
                socket.is_writable = is_fetching
                release = backend.hold("read", old_answer=True)
                delivery = await deliver(hub, socket, history=history)
                await turns()
                leaving = asyncio.ensure_future(hub.__aexit__(None, None, None))
                await turns()
                socket.is_writable = True
                delivery.wake()
                await turns()
                release.set()
                await leaving
                delivery.wake()
            written = seen(socket)
            assert written == numbers(901 - history, 900 - history + len(written))

    run(main())


def test_one_message_is_framed_once_for_all_readers() -> None:
    made: list[int] = []

    def counting(message: Message) -> bytes:
        made.append(message.seq)
        return frame(message)

    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            sockets = [RecordingSocket() for _ in range(50)]
            for socket in sockets:
                delivery = Delivery(socket, counting, gap_frame, hub.spawn)
                delivery.start(await hub.subscribe("ops", wake=delivery.wake))
            await publish_all(hub, *range(20))
            await until(lambda: all(seen(socket) == numbers(1, 20) for socket in sockets))
            assert sorted(made) == list(range(1, 21))
            assert {socket.n_writes for socket in sockets} == {1}

    run(main())


def test_messages_of_two_rooms_share_a_socket() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            socket = RecordingSocket()
            await deliver(hub, socket, room="a")
            await deliver(hub, socket, room="b")
            await asyncio.gather(*(hub.publish(draft("", room)) for room in "abab"))
            await until(lambda: sorted(seen(socket)) == ["1", "1", "2", "2"])

    run(main())
