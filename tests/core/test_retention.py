"""Retention by age, on every store: which time is trusted, and which messages are old."""

import asyncio
import itertools
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import stores
from postgres_backends import sql
from redis.asyncio import Redis

from chatkit.backends import memory as memory_backend
from chatkit.backends import open_backend
from chatkit.backends.redis.codec import KeyNames
from chatkit.backends.sqlite import writer as sqlite_writer
from chatkit.core.backend import Backend
from chatkit.core.model import Draft
from chatkit.core.retention import CONFIRM_S, START_TOLERANCE_MS, RetentionClock

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000

numbers = itertools.count()


# The clock


def test_a_steady_clock_is_trusted() -> None:
    clock = RetentionClock(NOW_MS - 5, NOW_MS, 3.0)
    for minute in range(200):
        assert clock.read(NOW_MS + minute * 60_000, 3.0 + minute * 60) == NOW_MS + minute * 60_000
        assert not clock.is_ahead


def test_a_jump_ahead_is_trusted_after_the_confirmation_time() -> None:
    clock = RetentionClock(None, NOW_MS, 0.0)
    for minute in range(1, 61):
        wall_ms, steady_s = NOW_MS + 31 * DAY_MS + minute * 60_000, minute * 60.0
        assert clock.read(wall_ms, steady_s) == NOW_MS + minute * 60_000
        assert clock.is_ahead
    assert clock.read(NOW_MS + 31 * DAY_MS, 60.0 + CONFIRM_S) == NOW_MS + 31 * DAY_MS
    assert not clock.is_ahead


def test_a_temporary_jump_ahead_has_no_effect() -> None:
    clock = RetentionClock(None, NOW_MS, 0.0)
    assert clock.read(NOW_MS + 31 * DAY_MS, 60.0) == NOW_MS + 60_000
    assert clock.read(NOW_MS + 120_000, 120.0) == NOW_MS + 120_000
    assert clock.read(NOW_MS + 31 * DAY_MS, 60.0 + CONFIRM_S) == NOW_MS + 60_000 + round(CONFIRM_S * 1_000)
    assert clock.is_ahead


def test_a_clock_that_is_set_back_is_trusted_at_once() -> None:
    clock = RetentionClock(None, NOW_MS, 0.0)
    assert clock.read(NOW_MS - DAY_MS, 60.0) == NOW_MS - DAY_MS
    assert clock.read(NOW_MS, 120.0) == NOW_MS - DAY_MS + 60_000, "set right again, it has jumped ahead"


@pytest.mark.parametrize("steady_s", [0.0, 5.0, 1e9])
def test_a_start_is_compared_with_the_newest_message(steady_s: float) -> None:
    next_day_ms = NOW_MS + START_TOLERANCE_MS
    assert RetentionClock(NOW_MS, next_day_ms, steady_s).read(next_day_ms, steady_s) == next_day_ms
    clock = RetentionClock(NOW_MS, NOW_MS + 31 * DAY_MS, steady_s)
    assert clock.read(NOW_MS + 31 * DAY_MS, steady_s) == NOW_MS
    assert clock.read(NOW_MS + 31 * DAY_MS, steady_s + CONFIRM_S) == NOW_MS + 31 * DAY_MS


# Old messages


Date = Callable[[Backend, dict[int, int]], Awaitable[None]]
"""Set the times of messages of the room `a`, given by their numbers."""


async def date_in_memory(backend: Backend, times_ms: dict[int, int]) -> None:
    assert isinstance(backend, memory_backend.MemoryBackend)
    log = backend._logs["a"]
    log.messages = [msgspec.structs.replace(each, time_ms=times_ms[each.seq]) for each in log.messages]


def dating_sqlite(path: Path) -> Date:
    async def date(_: Backend, times_ms: dict[int, int]) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN")
        connection.executemany("UPDATE message SET time_ms = ? WHERE seq = ?", [(t, n) for n, t in times_ms.items()])
        connection.execute("COMMIT")
        connection.close()

    return date


def dating_postgres(url: str) -> Date:
    async def date(_: Backend, times_ms: dict[int, int]) -> None:
        rows = ", ".join(f"({seq}, {time_ms})" for seq, time_ms in times_ms.items())
        update = f"UPDATE {{}}.message AS old SET time_ms = new.time_ms FROM (VALUES {rows}) AS new (seq, time_ms)"
        await asyncio.to_thread(sql, f"{update} WHERE old.seq = new.seq", url)

    return date


def redis_client(url: str) -> Any:
    """Return the driver's client, untyped, because its types do not describe the results of commands."""
    return Redis.from_url(url.partition("?")[0])


def dating_redis(url: str) -> Date:
    names = KeyNames(url.partition("prefix=")[2], 0).of("a")

    async def date(_: Backend, times_ms: dict[int, int]) -> None:
        async with redis_client(url) as client:
            entries = await client.xrange(names.log)
            await client.delete(names.log)
            for id_, fields in entries:
                fields[b"t"] = times_ms[int(id_.partition(b"-")[0])]
                await client.xadd(names.log, fields, id=id_)

    return date


def place(kind: str, folder: Path) -> tuple[str, Date]:
    if kind == "memory":
        return "memory://", date_in_memory
    if kind == "sqlite":
        path = folder / f"{next(numbers)}.db"
        return f"sqlite:///{path}", dating_sqlite(path)
    url = stores.redis() if kind == "redis" else stores.emptied_postgres()
    return url, (dating_redis if kind == "redis" else dating_postgres)(url)


OLD, YOUNG, AHEAD = 1_000, 3_000, 10**14  # in ms; messages before 2,000 are dropped, and no test runs in the year 5138


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis", "postgres"])
@pytest.mark.parametrize(
    ("times_ms", "dropped"),
    [
        ([OLD, OLD, YOUNG, YOUNG], 2),
        ([YOUNG, OLD, OLD], 0),  # the clock was behind for a while: earlier messages are recent
        ([OLD, AHEAD, OLD, YOUNG], 3),
        ([OLD, AHEAD, YOUNG], 1),
        ([OLD, AHEAD, AHEAD], 1),  # the age of these is unknown
        ([AHEAD, OLD], 2),
        ([OLD] * 3, 3),
        ([AHEAD] * 1_500 + [OLD] * 1_100 + [AHEAD, YOUNG, OLD], 2_600),
    ],
)
def test_a_log_is_trimmed_up_to_the_last_old_message_before_a_recent_one(
    kind: str, times_ms: list[int], dropped: int, tmp_path: Path
) -> None:
    url, date = place(kind, tmp_path)

    async def main() -> None:
        async with open_backend(url.replace("memory://", "memory://?keep=9999")) as backend:
            await backend.append([Draft("a", "ann", str(n)) for n in range(len(times_ms))])
            await date(backend, dict(enumerate(times_ms, 1)))
            assert await backend.trim(before_ms=2_000) == dropped
            head = (await backend.read("a")).head
            assert (head.first, head.last) == (dropped + 1, len(times_ms))
            assert await backend.trim(before_ms=2_000) == 0

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_message_written_with_a_clock_ahead_does_not_affect_the_times_of_others(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = place(kind, tmp_path)
    clock = {"now_ms": NOW_MS}

    class Clock:
        perf_counter = staticmethod(lambda: 0.0)

        @staticmethod
        def time_ns() -> int:
            return clock["now_ms"] * 1_000_000

    monkeypatch.setattr(memory_backend, "time", Clock)
    monkeypatch.setattr(sqlite_writer, "time", Clock)

    async def main() -> None:
        async with open_backend(url) as backend:
            for clock["now_ms"] in (NOW_MS, NOW_MS + 400 * DAY_MS, NOW_MS + 5):
                await backend.append([Draft("a", "ann", "x")])
            times_ms = [message.time_ms for message in (await backend.read("a")).messages]
            assert times_ms == [NOW_MS, NOW_MS + 400 * DAY_MS, NOW_MS + 5]
            assert [info.time_ms for info in await backend.rooms()] == [NOW_MS + 5]

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_time_ahead_of_the_store_does_not_affect_later_messages(kind: str, tmp_path: Path) -> None:
    url, _ = place(kind, tmp_path)

    async def main() -> None:
        async with open_backend(url) as backend:
            (first,) = await backend.append([Draft("a", "ann", "x")])
            if kind == "postgres":
                await asyncio.to_thread(sql, f"UPDATE {{}}.room SET time_ms = {AHEAD}", url)
            else:
                async with redis_client(url) as client:
                    await client.hset(KeyNames(url.partition("prefix=")[2], 0).of("a").meta, "time", AHEAD)
            (second,) = await backend.append([Draft("a", "ann", "x")])
            assert second.message.time_ms - first.message.time_ms < DAY_MS

    asyncio.run(main())
