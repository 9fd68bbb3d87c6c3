"""Shared by the tests of Redis: short timeouts, retried calls, and counts of commands."""

import asyncio
from collections.abc import Callable

import pytest

from chatkit.backends.redis import connection, pubsub
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Backend, Notification, RoomAdvanced
from chatkit.core.model import Draft, Message, Receipt
from chatkit.errors import Unavailable


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use short timeouts."""
    monkeypatch.setattr(connection, "ANSWER_S", 1.0)
    monkeypatch.setattr(connection, "CONNECT_S", 1.0)
    monkeypatch.setattr(connection, "TICK_S", 0.05)
    monkeypatch.setattr(pubsub, "PING_AFTER_S", 0.1)


async def in_thread(do: Callable[[], object]) -> None:
    await asyncio.to_thread(do)


async def append_until_taken(backend: Backend, room: str, key: str) -> Receipt:
    """Append a message with a key until it is acknowledged."""
    while True:
        try:
            (receipt,) = await backend.append([Draft(room, "ann", key, key=key)])
        except Unavailable:
            await asyncio.sleep(0.02)
        else:
            return receipt


async def read_until_answered(backend: Backend, room: str, after: int) -> list[Message]:
    """Read messages until the read succeeds."""
    while True:
        try:
            return list((await backend.read(room, after=after, limit=10_000)).messages)
        except Unavailable:
            await asyncio.sleep(0.02)


async def follow(backend: Backend, room: str, last: int) -> list[str]:
    """Read a room as a hub does: from notifications, and from the store where they leave a hole."""
    bodies: list[str] = []
    async for item in backend.notifications():
        if isinstance(item, RoomAdvanced) and item.room == room and item.last > len(bodies):
            fresh = [message for message in item.messages if message.seq > len(bodies)]
            if not fresh or fresh[0].seq != len(bodies) + 1:
                fresh = await read_until_answered(backend, room, len(bodies))
            bodies += [message.body for message in fresh]
        if len(bodies) >= last:
            break
    return bodies


def is_a(*kinds: type[Notification]) -> Callable[[Notification], bool]:
    return lambda item: isinstance(item, kinds)


def calls_of(server: RedisServer, command: str) -> int:
    """Return how often the server was sent a command since its statistics were reset."""
    for line in server.ask("INFO", "commandstats").splitlines():
        if line.startswith(f"cmdstat_{command}:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0
