"""The hub: publishing, and deleting, loading and trimming rooms."""

import asyncio
from pathlib import Path

import pytest
from faulty_backend import Faults
from harness import cancelled_after, draft, drain, publish_all, run, seqs, until

from chatkit.backends import conformance
from chatkit.backends.sqlite import SqliteBackend
from chatkit.core.backend import Filter
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Gap, Message
from chatkit.errors import Unavailable

FAULTLESS = [("memory", case) for case in conformance.cases(shared=False)]
FAULTLESS += [("sqlite", case) for case in conformance.cases(shared=True)]

pytestmark = pytest.mark.usefixtures("no_pauses")


# The wrapper that injects failures is itself a backend


@pytest.mark.parametrize(("kind", "case"), FAULTLESS, ids=lambda value: getattr(value, "__name__", value))
def test_the_faulty_backend_conforms_while_it_injects_nothing(
    kind: str, case: conformance.Case, tmp_path: Path
) -> None:
    conformance.run(case, lambda: Faults(SqliteBackend(tmp_path / "rooms.db") if kind == "sqlite" else None))


# Deleting, loading and trimming rooms


def test_readers_notice_a_deletion_and_a_load_although_notifications_are_lost() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(3))
            reader = await hub.subscribe("ops", history=3)
            assert seqs(await drain(reader)) == [1, 2, 3]
            loaded = [message for message in (await hub.history("ops")).messages if message.seq > 1]
            backend.is_deaf = True
            assert await hub.delete_room("ops")
            assert list(await reader.read()) == [Gap(3, 1, "epoch")]
            assert await hub.load(loaded) == 2
            assert list(await reader.read()) == [Gap(0, 2, "trimmed")]
            assert [message.body for message in await drain(reader) if isinstance(message, Message)] == ["1", "2"]
            assert not await hub.delete_room("never written to")
            assert await hub.load(loaded) == 0

    run(main())


def test_a_deletion_drops_the_rooms_pages_from_memory() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            await publish_all(hub, *range(700))
            behind = Cursor((await hub.history("ops", limit=1)).head.epoch, 10)
            reader = await hub.subscribe("ops", after=behind)
            assert seqs(await reader.read(5)) == [11, 12, 13, 14, 15]
            pages = hub._rooms._pages
            assert pages.find("ops", behind.epoch, 20) is not None
            await backend.delete_room("ops")  # as another process does, without the hub
            await until(lambda: hub.heads()["ops"].last == 0)
            assert list(await reader.read()) == [Gap(15, 1, "epoch")]
            assert pages.find("ops", behind.epoch, 20) is None

    run(main())


def test_trimming_one_room_affects_only_its_readers() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            for room in ("ops", "dev"):
                await backend.append([draft(n, room=room) for n in range(5)])
            with await hub.subscribe("ops", history=5) as ops, await hub.subscribe("dev", history=5) as dev:
                assert await hub.trim("ops", keep=2) == 3
                assert seqs(await drain(ops))[-2:] == [4, 5]
                assert seqs(await drain(dev)) == [1, 2, 3, 4, 5]
            assert (await hub.history("ops", after=0)).head.first == 4
            assert await hub.trim(keep=1) == 5

    run(main())


# Publishing


def test_published_messages_are_committed_in_order_and_can_be_read() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            receipts = await publish_all(hub, *range(50))
            assert [receipt.message.seq for receipt in receipts] == list(range(1, 51))
            assert backend.calls["append"] == 1
            page = await hub.history("ops", after=0, limit=100)
            assert [message.body for message in page.messages] == [str(n) for n in range(50)]
            assert [info.room for info in await hub.rooms()] == ["ops"]
            found = await hub.history("ops", where=Filter(search="49"))
            assert len(found.messages) == 1

    run(main())


def test_a_repeat_is_not_delivered_again() -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            outcomes = await asyncio.gather(*(hub.publish(draft("hi", key="k")) for _ in range(3)))
            assert [outcome.repeat for outcome in outcomes] == [False, True, True]
            assert (await hub.publish(draft("hi", key="k"))).repeat
            assert seqs(await drain(reader)) == [1]

    run(main())


@pytest.mark.parametrize("failure", [Unavailable("away"), OSError("a bug")])
def test_a_failed_append_fails_every_publisher_and_is_a_fault_until_the_next_commit(failure: Exception) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops")
            backend.failures["append"] = failure
            outcomes = await asyncio.gather(*(hub.publish(draft(n)) for n in range(5)), return_exceptions=True)
            assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
            assert hub.fault
            backend.failures.clear()
            await publish_all(hub, "hi")
            await until(lambda: hub.fault is None)
            assert seqs(await drain(reader)) == [1]

    run(main())


@pytest.mark.parametrize("steps", range(14))
def test_a_cancelled_publish_does_not_affect_others(steps: int) -> None:
    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            backend.turns = 2
            reader = await hub.subscribe("ops")
            other = asyncio.ensure_future(hub.publish(draft("other")))
            mine = await cancelled_after(steps, hub.publish(draft("mine")))
            assert (await other).message.body == "other"
            assert (await publish_all(hub, "last"))[0].message.body == "last"
            items = await drain(reader)
            assert seqs(items) == list(range(1, len(items) + 1))
            assert mine is None or mine.message in items

    run(main())
