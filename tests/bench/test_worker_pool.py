"""The workers of consumers under chaos, without servers."""

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from bench_process import processes_in

from chatkit.bench import ChaosPlan, Fleet
from chatkit.bench.chaos.checker import RoomChecker
from chatkit.bench.chaos.worker_pool import WorkerPool

KILLS_FIRST = ChaosPlan(workers=1, seed=49)


def test_all_workers_run_if_the_faults_end_while_one_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    asyncio.run(end_the_faults_at_a_kill(tmp_path))
    assert processes_in(tmp_path) == []


async def end_the_faults_at_a_kill(folder: Path) -> None:
    with (
        closing(Fleet("memory://", 1, max_connections=1)) as fleet,
        WorkerPool.open(KILLS_FIRST, fleet, "room", RoomChecker(KILLS_FIRST)) as pool,
    ):
        working = asyncio.create_task(pool.run())
        breaking = asyncio.create_task(pool.break_workers())
        while pool.n_kills == 0:  # noqa: ASYNC110 - not a moment later
            await asyncio.sleep(0)
        breaking.cancel()
        await asyncio.wait([breaking])
        assert len(processes_in(folder)) == 2  # that of the shared consumer, and that of the ordered one
        working.cancel()
        await asyncio.wait([working])
