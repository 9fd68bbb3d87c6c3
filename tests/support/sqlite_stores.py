"""What tests of the SQLite backend share: stores, long rooms, and another process that appends."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chatkit.backends import open_backend
from chatkit.core.backend import Backend
from chatkit.core.model import Draft, Message
from chatkit.errors import ChatkitError


def open_store(path: Path) -> Backend:
    return open_backend(f"sqlite:///{path}")


def opening_error(path: Path) -> ChatkitError:
    """Return the error of opening the path, which must fail."""

    async def main() -> None:
        async with open_store(path):
            pass

    with pytest.raises(ChatkitError) as caught:
        asyncio.run(main())
    return caught.value


async def read_all(backend: Backend, room: str) -> list[Message]:
    messages: list[Message] = []
    after = 0
    while page := (await backend.read(room, after=after, limit=10_000)).messages:
        messages += page
        after = page[-1].seq
    return messages


def fill_room(path: Path, rows: int, room: str = "big") -> None:
    """Fill a room by SQL, which is much faster than appending."""

    async def make() -> None:
        async with open_store(path) as backend:
            await backend.append([Draft(room, "ann", "the first")])

    asyncio.run(make())
    with sqlite3.connect(path) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO message (id, room, seq, time_ms, sender, body)"
            " SELECT i, 1, i, 2000000000000 + i, 'ann', printf('%d the quick brown fox jumps over the lazy dog, and"
            " goes on and on until a hundred bytes are there', i) FROM n",
            [rows],
        )
    connection.close()


def is_empty(path: Path) -> bool:
    return path.stat().st_size == 0


async def wait_until_empty(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not is_empty(path):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def start_appender(path: Path, name: str, count: int = 10**9) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "appender", f"sqlite:///{path}", name, str(count)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
