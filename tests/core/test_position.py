"""Where a reader continues and what it missed: every way to read a room follows one rule."""

from collections.abc import Sequence

import pytest
from faulty_backend import Faults, Forgetful
from harness import draft, drain, publish_all, run, seqs, small_tails, turns
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from session_host import Host, hosted

from chatkit.core.history import read_history
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Gap, Head
from chatkit.core.position import is_in_log, resume, start_before_end
from chatkit.core.subscription import Item, Subscription

pytestmark = pytest.mark.usefixtures("no_pauses")

SEGMENT = 16  # the most messages that a room keeps in memory with `small_tails`


@pytest.mark.parametrize(
    ("had", "head", "start", "gap"),
    [
        (Cursor("a", 7), Head("a", 1, 9), 7, None),
        (Cursor("a", 9), Head("a", 1, 9), 9, None),
        (Cursor("a", 4), Head("a", 5, 9), 4, None),
        (Cursor("a", 3), Head("a", 5, 9), 4, Gap(3, 5, "trimmed")),
        (Cursor("a", 3), Head("a", 10, 9), 9, Gap(3, 10, "trimmed")),
        (Cursor("a", 10), Head("a", 1, 9), 0, Gap(10, 1, "epoch")),
        (Cursor("b", 7), Head("a", 1, 9), 0, Gap(7, 1, "epoch")),
        (Cursor("b", 7), Head("a", 3, 9), 2, Gap(7, 3, "epoch")),
        (Cursor("b", 0), Head("a", 3, 9), 2, Gap(0, 3, "epoch")),
        (Cursor("b", 0), Head("a", 1, 9), 0, None),
        (Cursor("b", 0), Head("a", 1, 0), 0, None),
        (3, Head("a", 5, 9), 4, Gap(3, 5, "trimmed")),
        (12, Head("a", 5, 9), 12, None),
    ],
)
def test_a_reader_continues_after_its_cursor_or_at_the_start_of_a_new_log(
    had: Cursor | int, head: Head, start: int, gap: Gap | None
) -> None:
    assert resume(had, head) == (Cursor("a", start), gap)
    if gap is None:
        assert resume(had, head, keeps_history=False) == (Cursor("a", start), None)
    else:
        reason = "no-history" if gap.reason == "trimmed" else gap.reason
        assert resume(had, head, keeps_history=False)[1] == Gap(gap.after, gap.before, reason)


@pytest.mark.parametrize(("n_messages", "start"), [(0, 9), (3, 6), (5, 4), (99, 4)])
def test_a_reader_without_a_cursor_starts_before_the_newest_messages(n_messages: int, start: int) -> None:
    assert start_before_end(Head("a", 5, 9), n_messages) == Cursor("a", start)


@given(st.builds(Cursor, st.sampled_from("ab"), st.integers(0, 9)), st.integers(1, 9), st.integers(-1, 9))
def test_every_gap_means_that_messages_are_missing(had: Cursor, first: int, n_kept: int) -> None:
    head = Head("a", first, max(first - 1, n_kept))
    start, gap = resume(had, head)
    assert head.first - 1 <= start.seq <= head.last
    if gap is None:
        assert start == had or start.seq == had.seq == 0
    elif gap.reason == "epoch":
        assert not is_in_log(had, head)
        assert gap.after > 0 or gap.before > 1
    else:
        assert gap.before - gap.after > 1


# The ways to read


EVENTS = st.lists(
    st.tuples(st.sampled_from(["append", "append", "other", "trim", "wipe"]), st.integers(0, 40)), max_size=8
)


async def happen(hub: Hub, backend: Faults, events: Sequence[tuple[str, int]]) -> None:
    for what, n in events:
        match what:
            case "append":
                await publish_all(hub, *range(n))
            case "other":
                await backend.inner.append([draft(i) for i in range(n)])
            case "trim":  # only messages that are no longer in the tail
                await hub.trim(keep=SEGMENT + n)
            case "wipe":
                backend.wipe()


async def read_by_pages(backend: Faults, had: Cursor) -> list[int | tuple[int, int, str]]:
    items: list[Item] = []
    while True:
        past = await read_history(backend, "ops", after=had, limit=7)
        items += [] if past.gap is None else [past.gap]
        items += past.messages
        if past.complete:
            return seqs(items)
        had = past.cursor


async def read_on(subscription: Subscription) -> list[int | tuple[int, int, str]]:
    items: list[Item] = []
    while found := await drain(subscription):
        items += found
        await turns()
    return seqs(items)


async def come_to_rest(subscription: Subscription) -> None:
    subscription.check()
    await turns(60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS, EVENTS, st.integers(0, 30))
@example([], [("wipe", 0), ("append", 1)], 0)
@example([], [("append", 40), ("trim", 0)], 0)
@example([("append", 40)], [("wipe", 0), ("append", 40), ("trim", 0)], 30)
@example([("append", 3)], [("wipe", 0)], 0)
def test_all_ways_to_continue_report_the_same_messages_and_gaps(
    before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]], history: int
) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await happen(hub, backend, before)
            with await hub.subscribe("ops", history=history) as staying:
                had = staying.cursor
                await happen(hub, backend, after)
                await come_to_rest(staying)
                with await hub.subscribe("ops", after=had) as returning:
                    by_pages = await read_by_pages(backend, had)
                    assert await read_on(returning) == by_pages
                    assert await read_on(staying) == by_pages
                    assert returning.cursor == staying.cursor

    with small_tails():
        run(main())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS, EVENTS)
@example([("append", 3)], [("wipe", 0)])
@example([], [("wipe", 0), ("append", 2)])
def test_without_history_a_page_and_a_returning_reader_report_the_same_gap(
    before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]
) -> None:
    async def main() -> None:
        async with Faults(Forgetful()) as backend, Hub(backend) as hub:
            await happen(hub, backend, before)
            with await hub.subscribe("ops") as staying:
                had = staying.cursor
                await happen(hub, backend, after)
                await come_to_rest(staying)
                with await hub.subscribe("ops", after=had) as returning:
                    by_pages = await read_by_pages(backend, had)
                    assert await read_on(returning) == by_pages
                # A reader that stayed gets the messages that are still in memory, so it misses the same or fewer.
                gaps = [(item[0], item[2]) for item in await read_on(staying) if isinstance(item, tuple)]
                assert gaps in ([], [(item[0], item[2]) for item in by_pages if isinstance(item, tuple)])
                assert returning.cursor == staying.cursor

    with small_tails():
        run(main())


def test_a_client_at_position_0_gets_the_epoch_of_a_new_log_without_a_gap() -> None:
    async def test(host: Host) -> None:
        client, text = await host.json("ops"), await host.text("ops")
        client.socket.pop_events()
        host.backend.wipe()
        await publish_all(host.hub, "new")
        await publish_all(host.hub, "next")
        await turns(60)
        epoch = (await host.hub.history("ops")).head.epoch
        events = client.socket.events
        assert [event["type"] for event in events] == ["joined", "message", "message"]
        assert (events[0]["cursor"], events[0]["seq"]) == (f"{epoch}:0", 0)
        assert text.socket.texts == [b"new", b"next"]

    hosted(test)
