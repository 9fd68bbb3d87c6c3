"""Leaving a hub: accepted drafts are committed, readers end, and nothing of it remains."""

import asyncio
import gc
import weakref
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from faulty_backend import Faults
from harness import draft, is_left_clean, publish_all, run, seqs, turns, until

from chatkit.backends.sqlite import SqliteBackend
from chatkit.core import hub as hub_module
from chatkit.core.backend import Backend, RoomAdvanced
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Receipt
from chatkit.core.subscription import Item, Subscription
from chatkit.core.tasks import Tasks
from chatkit.errors import ChatkitError, Unavailable

pytestmark = pytest.mark.usefixtures("no_pauses")


def test_leaving_commits_accepted_drafts_ends_readers_and_refuses_new_calls() -> None:
    async def main() -> None:
        async with Faults() as backend:
            hub = Hub(backend)
            async with hub:
                await publish_all(hub, *range(900))
                waiting = await hub.subscribe("ops")
                behind = await hub.subscribe("ops", history=850)
                ending = [asyncio.ensure_future(_all(reader)) for reader in (waiting, behind)]
                published = [asyncio.ensure_future(hub.publish(draft(n))) for n in range(3)]
                await asyncio.sleep(0)
            assert [(await one).message.seq for one in published] == [901, 902, 903]
            for items in await asyncio.gather(*ending):
                numbers = seqs(items)
                assert numbers == [*range(901 - len(numbers), 901)] or numbers[-1] in range(51, 904)
            assert (await backend.read("ops")).head.last == 903
            for refused in (hub.publish(draft(1)), hub.subscribe("ops")):
                with pytest.raises(Unavailable):
                    await refused
            assert is_left_clean(hub)
            assert not backend.watched
            await hub.__aexit__(None, None, None)
            assert waiting.is_closed

    async def _all(reader: Subscription) -> list[Item]:
        return [item async for item in reader]

    run(main())


@pytest.mark.parametrize("steps", range(16))
def test_a_subscribe_in_progress_ends_when_the_hub_is_left(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend:
            backend.turns = 3
            async with Hub(backend) as hub:
                subscribing = asyncio.ensure_future(hub.subscribe("ops", after=Cursor("other", 1), member="ann"))
                await turns(steps)
            with pytest.raises(Unavailable):
                await subscribing
            assert hub.counts["subscriptions"] == 0
            assert hub.count("ops") == 0

    run(main())


@pytest.mark.parametrize("steps", range(20))
@pytest.mark.parametrize("shared", [False, True])
def test_a_hub_is_left_completely_even_if_leaving_is_cancelled(steps: int, shared: bool) -> None:
    async def main() -> None:
        async with Faults() as backend:
            backend.shared = shared
            backend.turns = 3
            hub = Hub(backend)

            async def use() -> None:
                async with hub:
                    await hub.subscribe("ops", member="ann")
                    hub.submit(draft(1), outcomes.append)

            outcomes: list[Receipt | ChatkitError] = []
            using = asyncio.ensure_future(use())
            await until(lambda: hub._is_closed)
            await turns(steps)
            using.cancel()
            await asyncio.wait([using])
            assert len(outcomes) == 1
            with pytest.raises(Unavailable):
                hub.spawn(asyncio.sleep(0))
            assert hub.counts["subscriptions"] == 0
            others = asyncio.all_tasks() - {asyncio.current_task(), backend._next}
            assert not [task for task in others if "Hub" in repr(task) or "_logged" in repr(task)]

    run(main())


@pytest.mark.parametrize("hung", ["append", "read", "unwatch", "announce", "poll_presence"])
def test_a_store_that_hangs_does_not_keep_a_hub_from_being_left(hung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "DRAIN_S", 0.01)

    async def main() -> None:
        async with Faults() as backend:
            backend.shared = True
            async with Hub(backend) as hub:
                await hub.subscribe("ops", member="ann")
                await turns()
                backend.hold(hung)
                outcomes: list[Receipt | ChatkitError] = []
                hub.submit(draft(1), outcomes.append)
                backend.inject(RoomAdvanced("ops", 9))
                await turns()
            assert len(outcomes) == 1

    run(main())


def test_a_hub_that_was_left_is_garbage_collected() -> None:
    async def main() -> None:
        async with Faults() as backend:
            async with Hub(backend) as hub:
                left = weakref.ref(hub)
                for n in range(20):
                    with await hub.subscribe(f"forgotten{n}", member="ann"):
                        await publish_all(hub, 1, room=f"forgotten{n}")
            del hub
        gc.collect()
        readers = [one for one in gc.get_objects() if isinstance(one, Subscription)]
        assert left() is None
        assert not [one for one in readers if one.room.startswith("forgotten")]

    run(main())


def test_hubs_can_be_left_in_any_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            backends: list[Backend] = [
                await stack.enter_async_context(SqliteBackend(tmp_path / "rooms.db")) for _ in range(3)
            ]
            hubs = [await stack.enter_async_context(Hub(backend)) for backend in backends]
            readers = [await hub.subscribe("ops") for hub in hubs]
            await publish_all(hubs[1], "hi")
            assert [seqs(await reader.read()) for reader in readers] == [[1], [1], [1]]
            await hubs[0].__aexit__(None, None, None)
            await publish_all(hubs[1], "there")
            assert seqs(await readers[2].read()) == [2]

    run(main())


def test_a_task_that_is_started_when_the_last_one_has_ended_is_refused() -> None:
    refused: list[Unavailable] = []

    async def main() -> None:
        tasks = Tasks()

        async def nothing() -> None:
            pass

        def start(_ended: asyncio.Task[None]) -> None:
            try:
                tasks.spawn(nothing())
            except Unavailable as error:
                refused.append(error)

        async with tasks:
            tasks.spawn(asyncio.sleep(0)).add_done_callback(start)  # called after the group's own callback
        start(asyncio.ensure_future(asyncio.sleep(0)))

    run(main())
    assert [str(error) for error in refused] == ["the server is shutting down"] * 2
