"""What a hub measures."""

from contextlib import ExitStack

import pytest
from faulty_backend import Faults
from harness import drain, publish_all, run

from chatkit.core import rooms
from chatkit.core.hub import Hub
from chatkit.core.measures import BOUNDS_S, FAR_BEHIND, Histogram, ReaderMeasures
from chatkit.core.model import Cursor
from chatkit.errors import StoreError


def test_durations_are_counted_by_size() -> None:
    histogram = Histogram()
    for duration_s in (0.0, BOUNDS_S[0], BOUNDS_S[-1] + 1):
        histogram.observe(duration_s)
    assert histogram.read().counts == [2, *[0] * (len(BOUNDS_S) - 1), 1]
    assert histogram.read().sum_s == pytest.approx(BOUNDS_S[0] + BOUNDS_S[-1] + 1)


def test_a_reader_is_far_behind_from_a_number_of_messages_on() -> None:
    measures = ReaderMeasures(0)
    measures.add(1, FAR_BEHIND - 1, is_open=True)
    measures.add(2, FAR_BEHIND, is_open=True)
    measures.add(3, FAR_BEHIND, is_open=False)
    assert measures == ReaderMeasures(6, 2, 1, 2 * FAR_BEHIND - 1, FAR_BEHIND)


def test_what_readers_have_read_is_counted_also_after_they_left_and_gaps_are_not() -> None:
    async def test() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            early = await hub.subscribe("ops")
            await publish_all(hub, *range(10))
            await hub.trim(keep=4)
            late = await hub.subscribe("ops", after=Cursor("other", 3))
            assert len(await drain(early)) == 10
            assert len(await drain(late)) == 5  # a gap and four messages
            measures = (await hub.measure()).readers
            assert (measures.n_delivered, measures.n_readers, measures.lag) == (14, 2, 0)
            early.close()
            await publish_all(hub, "x", "y")
            measures = (await hub.measure()).readers
            assert (measures.n_delivered, measures.n_readers, measures.lag, measures.max_lag) == (14, 1, 2, 2)

    run(test())


def test_the_count_does_not_fall_when_readers_leave_while_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "READERS_A_TURN", 1)

    async def test() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            with ExitStack() as stack:
                readers = [stack.enter_context(await hub.subscribe("ops")) for _ in range(3)]
                await publish_all(hub, "a", "b")
                for reader in readers:
                    await drain(reader)
                hub._loop.call_soon(readers[0].close)  # after it was counted
                hub._loop.call_soon(readers[2].close)  # before
                assert (await hub.measure()).readers.n_delivered == 6
                measures = (await hub.measure()).readers
                assert (measures.n_delivered, measures.n_readers) == (6, 1)

    run(test())


def test_commits_failures_and_members_are_counted() -> None:
    async def test() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            with await hub.subscribe("ops", member="ann"), await hub.subscribe("ops", member="ann"):
                await publish_all(hub, "a")
                backend.failures["append"] = StoreError("full")
                with pytest.raises(StoreError):
                    await publish_all(hub, "b")
                measures = await hub.measure()
                assert (measures.n_published, measures.n_failed_commits, measures.n_members) == (1, 1, 1)
                assert not measures.is_store_available
                assert sum(measures.commit.counts) == 1
                assert sum(measures.fanout.counts) == 1
            assert (await hub.measure()).n_members == 0

    run(test())
