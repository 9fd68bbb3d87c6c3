"""Subscriptions: where a reader starts, and that only reading moves its position."""

import asyncio

import pytest
from faulty_backend import Faults
from harness import cancelled_after, draft, drain, is_left_clean, publish_all, read_in_memory, run, seqs, turns, until

from chatkit.core import fanout
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Message
from chatkit.core.signals import Typing
from chatkit.core.subscription import Item, WouldBlock
from chatkit.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_pauses")


# Where a reader starts


@pytest.mark.parametrize(
    ("history", "expected"), [(0, []), (3, [8, 9, 10]), (10, [*range(1, 11)]), (999, [*range(1, 11)])]
)
@pytest.mark.parametrize("is_read_already", [False, True])
def test_history_starts_that_many_messages_before_the_end(
    history: int, expected: list[int], is_read_already: bool
) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            if is_read_already:
                await hub.subscribe("ops")
            await publish_all(hub, *range(10))
            with await hub.subscribe("ops", history=history) as reader:
                assert seqs(await drain(reader)) == expected
                await publish_all(hub, "live")
                assert seqs(await drain(reader)) == [11]
                assert reader.is_at_head
                assert reader.cursor == Cursor(reader.head.epoch, 11)

    run(main())


def test_readers_far_behind_share_reads_of_the_store() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(400))
            readers = [await hub.subscribe("ops", history=300) for _ in range(50)]
            backend.calls.clear()
            found = await asyncio.gather(*(drain(reader, 400) for reader in readers))
            assert all(seqs(items) == list(range(101, 401)) for items in found)
            assert backend.calls["read"] == 2  # the pages with 101 to 256, and 257 to 400

    run(main())


@pytest.mark.parametrize("is_read_already", [False, True])
def test_cursors_of_every_kind(is_read_already: bool) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(2000))
            await backend.trim(keep=900)
            epoch = (await hub.history("ops")).head.epoch
            if is_read_already:
                await hub.subscribe("ops", history=1)

            async def read_from(cursor: Cursor) -> list[object]:
                with await hub.subscribe("ops", after=cursor) as reader:
                    return list(seqs(await drain(reader, 100)))

            assert await read_from(Cursor(epoch, 2000)) == []
            assert await read_from(Cursor(epoch, 1998)) == [1999, 2000]
            assert await read_from(Cursor(epoch, 1100)) == [*range(1101, 2001)]
            assert await read_from(Cursor(epoch, 5)) == [(5, 1101, "trimmed"), *range(1101, 2001)]
            assert await read_from(Cursor(epoch, 2001)) == [(2001, 1101, "epoch"), *range(1101, 2001)]
            assert await read_from(Cursor("other", 7)) == [(7, 1101, "epoch"), *range(1101, 2001)]
            assert await read_from(Cursor("other", 1999)) == [(1999, 1101, "epoch"), *range(1101, 2001)]

    run(main())


def test_a_completely_trimmed_room_gives_a_gap() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, 1, 2, 3)
            epoch = (await hub.history("ops")).head.epoch
            await backend.trim(keep=0)
            with await hub.subscribe("ops", after=Cursor(epoch, 1)) as reader:
                assert seqs(await drain(reader)) == [(1, 4, "trimmed")]
                await publish_all(hub, 4)
                assert seqs(await drain(reader)) == [4]

    run(main())


# Reading


def test_a_reader_is_woken_once_a_turn_and_a_chunk_has_all_messages() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            rung: list[int] = []
            reader = await hub.subscribe("ops", wake=lambda: rung.append(1))
            assert read_in_memory(reader) == []
            await publish_all(hub, *range(100))
            await turns()
            assert len(rung) == 1
            assert [message.seq for message in read_in_memory(reader)] == list(range(1, 101))
            assert read_in_memory(reader) == []
            assert not reader.is_due

    run(main())


def test_reading_without_waiting_returns_what_is_in_memory_and_a_gap_alone() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(900))
            reader = await hub.subscribe("ops", after=Cursor("other", 9))
            assert reader.cursor == Cursor("other", 9)
            assert seqs(reader.read_nowait()) == [(9, 1, "epoch")]
            with pytest.raises(WouldBlock):
                reader.read_nowait()  # the first page is in the store
            assert reader.is_due
            assert seqs(await reader.read(3)) == [1, 2, 3]
            assert seqs(reader.read_nowait(2)) == [4, 5]
            live = await hub.subscribe("ops")
            with pytest.raises(WouldBlock):
                live.read_nowait()
            assert not live.is_due
            assert list(await live.read(wait=False)) == []
            live.close()
            assert list(live.read_nowait()) == []

    run(main())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_reader_that_waits_is_woken_by_a_message_and_by_its_end(moment: str) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            woken: list[int] = []
            reader = await hub.subscribe("ops", wake=lambda: woken.append(1))
            reading = asyncio.ensure_future(reader.read())
            await turns()
            if moment == "before":
                reader.close()
                assert list(await reading) == []
            else:
                await publish_all(hub, "hi")
                assert seqs(await reading) == [1]
                assert woken == []
                await publish_all(hub, "there")
                await turns()
                assert woken == [1]

    run(main())


def test_iterating_waits_and_ends_when_the_subscription_is_closed() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, 1, 2)
            reader = await hub.subscribe("ops", history=9)
            seen: list[Item] = []

            async def read() -> None:
                async for item in reader:
                    seen.append(item)  # noqa: PERF401  # the test looks at the list during the loop

            reading = asyncio.ensure_future(read())
            await until(lambda: len(seen) == 2)
            await publish_all(hub, 3)
            await until(lambda: len(seen) == 3)
            reader.close()
            await reading
            reader.close()
            assert read_in_memory(reader) == []
            assert list(await reader.read(wait=False)) == list(await reader.read()) == []
            await until(lambda: is_left_clean(hub))

    run(main())


@pytest.mark.parametrize("had", range(1, 7))
def test_leaving_a_loop_loses_no_items(had: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(5))
            reader = await hub.subscribe("ops", after=Cursor("other", 9))
            seen: list[Item] = []
            async for item in reader:
                seen.append(item)
                if len(seen) == had:
                    break
            cursor = reader.cursor
            reader.close()
            with await hub.subscribe("ops", after=cursor) as again:
                seen += await drain(again)
            assert seqs(seen) == [(9, 1, "epoch"), 1, 2, 3, 4, 5]

    run(main())


def test_reading_within_a_loop_repeats_no_items() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(6))
            reader = await hub.subscribe("ops", history=9)
            seen: list[Item] = []
            async for item in reader:
                seen.append(item)
                if len(seen) == 2:
                    seen += await reader.read(2, wait=False)
                if len(seen) == 6:
                    break
            assert seqs(seen) == [1, 2, 3, 4, 5, 6]

    run(main())


@pytest.mark.parametrize("steps", range(10))
def test_a_cancelled_read_does_not_move_the_position(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(900))
            reader = await hub.subscribe("ops", history=850)
            backend.turns = 2
            found = await cancelled_after(steps, reader.read(100, wait=False))
            rest = await drain(reader, 100)
            assert seqs([*(found or ()), *rest]) == list(range(51, 901))
            backend.turns = 0

    run(main())


@pytest.mark.parametrize("steps", range(6))
def test_a_cancelled_iteration_does_not_move_the_position(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            assert await cancelled_after(steps, reader.read()) is None
            await publish_all(hub, 1)
            assert seqs(await reader.read()) == [1]

    run(main())


def test_an_unavailable_store_delays_a_reader_without_loss() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(900))
            reader = await hub.subscribe("ops", history=850)
            backend.failures["read"] = Unavailable("away")
            with pytest.raises(Unavailable):
                await reader.read(wait=False)
            backend.failures.clear()
            assert seqs(await drain(reader, 100)) == list(range(51, 901))

    run(main())


def test_a_closed_reader_gets_no_messages_that_were_being_loaded() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(900))
            for history in (850, 300):  # from the store, and from a page
                reader = await hub.subscribe("ops", history=history)
                position = reader.cursor
                release = backend.hold("read", old_answer=True)
                fetching = asyncio.ensure_future(reader.read(wait=False))
                await turns()
                reader.close()
                release.set()
                assert list(await fetching) == []
                assert reader.cursor == position
                assert not reader.is_due

    run(main())


def test_a_callback_that_raises_does_not_stop_other_readers(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            rung: list[object] = []
            before = await hub.subscribe("ops", wake=lambda: rung.append(1), on_signal=rung.append)
            await hub.subscribe("ops", wake=refuse, on_signal=refuse)
            await hub.subscribe("ops", wake=lambda: rung.append(2), on_signal=rung.append)
            for n in (1, 2):
                await publish_all(hub, n)
                await turns()
                assert sorted(map(str, rung)) == ["1", "2"]
                rung.clear()
                hub.typing("ops", "bob")
                assert rung == [Typing("ops", "bob")] * 2
                rung.clear()
            before.close()

    run(main())
    assert "ZeroDivisionError" in caplog.text


def test_a_giant_room_does_not_delay_small_rooms() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            n_readers = 5 * fanout.WAKES_A_ROOM
            rung = [0, 0]

            def ring_giant() -> None:
                rung[0] += 1

            def ring_small() -> None:
                rung[1] += 1

            for _ in range(n_readers):
                await hub.subscribe("giant", wake=ring_giant)
            await hub.subscribe("small", wake=ring_small)
            n_turns = 100
            for n in range(n_turns):
                hub._rooms.grow("giant", n + 1, [Message("giant", hub.heads()["giant"].epoch, n + 1, 0, "ann", "")])
                if n == 50:
                    await backend.append([draft("", room="small")])
                    hub._rooms.grow("small", 1, (await hub.history("small")).messages)
                await asyncio.sleep(0)
                assert rung[0] <= (n + 1) * fanout.WAKES_A_ROOM
                assert rung[1] == (n > 51) or n < 53
            before = rung[0]
            await turns(40)
            assert rung[0] - before <= 2 * n_readers
            assert hub._rooms._fanout.is_idle

    run(main())
