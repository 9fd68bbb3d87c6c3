"""A server under hostile connections of every kind keeps its memory bounded and goes on to serve."""

import asyncio
from pathlib import Path

from hostile import KINDS, measure
from serving import serve


def test_hostile_connections_use_little_memory_and_stop_nobody(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db") as server:
        report = asyncio.run(asyncio.wait_for(measure(server, 2.0, len(KINDS)), 120))
        assert "Traceback" not in server.log, server.log
    assert report.most_mib < report.before_mib + 200
    assert report.delays_s
