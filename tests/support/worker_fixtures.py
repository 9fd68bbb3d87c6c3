"""Servers with two workers: one of rooms, and one of an application."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import short_times
from worker_group import STOP_TIMEOUT_S, WorkerGroup, serve_workers


@pytest.fixture
def two(tmp_path: Path) -> Iterator[WorkerGroup]:
    with serve_workers(tmp_path / "rooms.db") as started:
        yield started
    assert "Traceback" not in started.server.log


APPLICATION = """
import time
from pathlib import Path

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        is_broken = Path("broken").exists()
        await send({"type": "lifespan.startup." + ("failed" if is_broken else "complete")})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": scope["path"] == "/stuck"})
        while scope["path"] == "/stuck":
            time.sleep(1)
"""


@pytest.fixture
def application(tmp_path: Path) -> Iterator[WorkerGroup]:
    """Workers that serve an application of the user, which starts unless there is a file called `broken`."""
    (tmp_path / "some.py").write_text(APPLICATION)
    env = short_times.shortened("chatkit.server.workers.process.STOP_TIMEOUT_S", STOP_TIMEOUT_S)
    with serve_workers("sqlite://", "some:app", folder=tmp_path, command=short_times.COMMAND, env=env) as started:
        yield started
    assert "Traceback" not in started.server.log
