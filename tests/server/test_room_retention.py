"""Which messages are removed, if the server and some rooms have limits of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from raw_client import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core.access import EVERYTHING, Credential, Identity, RoomSettings
from chatkit.core.audit import AUDIT_ROOM
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.server.retention import Retention
from chatkit.server.retention_rule import RetentionRule

ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
NO_LIMIT = RetentionRule(None, None)


@asynccontextmanager
async def filled_hub(**settings: RoomSettings) -> AsyncIterator[Hub]:
    """Open a hub with ten messages in each of three rooms."""
    async with MemoryBackend() as backend, Hub(backend) as hub:
        for room in ("ops", "dev", "qa"):
            for number in range(10):
                await hub.publish(Draft(room, "ann", f"m{number}"))
        for room, given in settings.items():
            await hub.moderation.set_room(ROOT, room, lambda _, given=given: given)  # type: ignore[misc]
        yield hub


async def kept(hub: Hub) -> dict[str, int]:
    """Return the number of messages that each room holds."""
    heads = {info.room: info.head for info in await hub.rooms() if not info.room.startswith(".")}
    return {room: head.last - head.first + 1 for room, head in heads.items()}


@pytest.mark.parametrize(
    ("server", "rooms", "expected"),
    [
        (NO_LIMIT, {}, {"ops": 10, "dev": 10, "qa": 10}),
        (NO_LIMIT, {"ops": RoomSettings(keep=3)}, {"ops": 3, "dev": 10, "qa": 10}),
        (RetentionRule(5, None), {}, {"ops": 5, "dev": 5, "qa": 5}),
        (RetentionRule(5, None), {"ops": RoomSettings(keep=3)}, {"ops": 3, "dev": 5, "qa": 5}),
        (RetentionRule(5, None), {"ops": RoomSettings(keep=8)}, {"ops": 8, "dev": 5, "qa": 5}),
        (NO_LIMIT, {"ops": RoomSettings(keep=8), "qa": RoomSettings(keep=2)}, {"ops": 8, "dev": 10, "qa": 2}),
        (RetentionRule(5, None), {"ops": RoomSettings(topic="x")}, {"ops": 5, "dev": 5, "qa": 5}),
        (RetentionRule(None, 60), {"ops": RoomSettings(keep_for_s=10**6)}, {"ops": 10, "dev": 0, "qa": 0}),
        (NO_LIMIT, {"ops": RoomSettings(keep_for_s=60)}, {"ops": 0, "dev": 10, "qa": 10}),
    ],
)  # fmt: skip
def test_each_room_keeps_what_its_settings_or_those_of_the_server_say(
    server: RetentionRule, rooms: dict[str, RoomSettings], expected: dict[str, int]
) -> None:
    async def test() -> None:
        async with filled_hub(**rooms) as hub:
            newest_ms = max(info.time_ms for info in await hub.rooms())
            await Retention(hub, server, lambda: (newest_ms + 3_600_000, 0.0)).trim()  # an hour later
            assert await kept(hub) == expected

    run(test())


@pytest.mark.parametrize("rooms", [{}, {"ops": RoomSettings(keep=8)}])
def test_the_audit_is_not_cut_to_a_number_of_entries(rooms: dict[str, RoomSettings]) -> None:
    async def test() -> None:
        async with filled_hub(**rooms) as hub:
            for number in range(10):
                await hub.moderation.ban(ROOT, f"user{number}")
            before = len((await hub.history(AUDIT_ROOM)).messages)
            await Retention(hub, RetentionRule(5, None)).trim()
            assert len((await hub.history(AUDIT_ROOM)).messages) == before
            assert (await kept(hub))["dev"] == 5
            newest_ms = max(info.time_ms for info in await hub.rooms())
            await Retention(hub, RetentionRule(5, 60), lambda: (newest_ms + 3_600_000, 0.0)).trim()
            assert (await hub.history(AUDIT_ROOM)).messages == []

    run(test())


def test_a_consumer_is_reported_once_before_and_after_retention_passes_it(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with filled_hub() as hub:
            for name, after in (("slow", "start"), ("quick", "end")):
                await hub.consumers.put("ops", name, owner="ann", after=after)  # type: ignore[arg-type]
            retention = Retention(hub, RetentionRule(12, None))
            for n_published in (0, 0, 5, 0):
                for number in range(n_published):
                    await hub.publish(Draft("ops", "ann", f"more {number}"))
                await retention.trim()
            entries = (await hub.history(AUDIT_ROOM)).messages
            assert [(entry.data["event"], entry.data["target"]) for entry in entries] == [
                ("consumer-behind", "ops/slow"), ("consumer-missed", "ops/slow"),
            ]  # fmt: skip
            assert "misses 3 messages" in entries[1].body
            assert [record.getMessage() for record in caplog.records] == [entry.body for entry in entries]
            assert (await hub.consumers.consumer("ops", "slow").status()).missed == 3

    run(test())


def test_a_consumer_whose_oldest_message_is_old_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with filled_hub() as hub:
            await hub.consumers.put("ops", "slow", owner="ann", after="start")
            newest_ms = max(info.time_ms for info in await hub.rooms())
            for age_s, n_reports in ((70, 0), (85, 1)):
                now_ms = newest_ms + age_s * 1000
                await Retention(hub, RetentionRule(None, 100), lambda now_ms=now_ms: (now_ms, 0.0)).trim()  # type: ignore[misc]
                assert len([record for record in caplog.records if "removed soon" in record.getMessage()]) == n_reports

    run(test())
