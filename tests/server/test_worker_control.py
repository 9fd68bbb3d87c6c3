"""The messages between a supervisor and its workers are encoded and decoded without loss."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core.hub import Hub
from chatkit.errors import BadName, BadRequest, ChatkitError, NotAStore, StoreTooNew, Unavailable
from chatkit.server.app import create_app
from chatkit.server.metrics import Snapshots
from chatkit.server.settings import Settings
from chatkit.server.snapshot import Snapshot, take_snapshot
from chatkit.server.workers.control import (
    AllSnapshots,
    GatherSnapshots,
    TakeSnapshot,
    WorkerConfig,
    WorkerFailed,
    WorkerReady,
    WorkerSnapshot,
    encode,
    read_answer,
    read_config,
    read_supervisor_message,
    read_worker_message,
)
from chatkit.server.workers.snapshot_exchange import SharedRequest, SupervisorEnd, WorkerEnd


def test_a_worker_config_carries_every_setting(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hi")
    settings = Settings(
        host="::1",
        port=0,
        backend="sqlite:///r\u00f6\u00f6ms.db",
        workers=3,
        keep=5,
        keep_for_s=1.5,
        secret="eight-or-more",
        rate_limit=0.5,
        origins=("https://a.example", "https://b.example"),
        page=tmp_path,
        log_level="info",
        log_json=True,
    )
    config = WorkerConfig(settings, "app:app", listening_fd=3, counts_fd=4, n_cells=6, cell=5)
    line = encode(config)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_config(line) == config
    assert read_config(encode(WorkerConfig(Settings(), None, 3, 4, 2, 0))).settings == Settings()


def test_a_worker_answers_that_it_is_ready_or_why_it_failed() -> None:
    assert read_answer(encode(WorkerReady())) == WorkerReady()
    assert read_answer(encode(WorkerFailed("unavailable", "no"))) == WorkerFailed("unavailable", "no")


@pytest.mark.parametrize("kind", [BadRequest, NotAStore, StoreTooNew, Unavailable])
def test_an_error_keeps_its_class_and_its_sentence(kind: type[ChatkitError]) -> None:
    error = WorkerFailed.of(kind("a sentence")).error
    assert (type(error), str(error)) == (kind, "a sentence")


def test_any_other_error_keeps_its_sentence() -> None:
    assert str(WorkerFailed.of(OSError(13, "Permission denied", "rooms.db")).error) == "Permission denied: rooms.db"
    assert str(WorkerFailed.of(BadName("room", "short")).error) == "a room is short"


# Snapshots


@asynccontextmanager
async def snapshot() -> AsyncIterator[Snapshot]:
    async with MemoryBackend() as backend, Hub(backend) as hub:
        yield await take_snapshot(create_app(Settings(), hub).state.admission)


def test_snapshots_are_sent_without_loss() -> None:
    async def test() -> None:
        async with snapshot() as taken:
            assert read_worker_message(encode(GatherSnapshots())) == GatherSnapshots()
            assert read_worker_message(encode(WorkerSnapshot(taken))) == WorkerSnapshot(taken)
            assert read_supervisor_message(encode(TakeSnapshot())) == TakeSnapshot()
            everything = AllSnapshots({0: taken, 1: None})
            assert read_supervisor_message(encode(everything)) == everything
            assert len(encode(WorkerSnapshot(taken))) < 4_096

    run(test())


def test_a_worker_gets_the_snapshots_of_all_from_the_supervisor() -> None:
    async def test() -> None:
        async with snapshot() as taken, asyncio.TaskGroup() as running:

            async def take_own() -> Snapshot:
                return taken

            async def gather() -> Snapshots:
                return {0: await ours.snapshot(), 1: None}

            near, far = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=near)
            far_reader, far_writer = await asyncio.open_connection(sock=far)
            ours, theirs = SupervisorEnd(reader, writer), WorkerEnd(far_reader, far_writer, take_own)
            running.create_task(ours.run(gather))
            running.create_task(theirs.run())
            far_writer.write(b"{}\n")  # a message of another version is ignored
            first, second = await asyncio.gather(theirs.gather(), theirs.gather())
            assert first == second == {0: taken, 1: None}
            writer.close()
            await writer.wait_closed()
            far_writer.close()

    run(test())


def test_callers_share_a_request_and_wait_a_limited_time_for_it() -> None:
    async def test() -> None:
        sent: list[None] = []
        request: SharedRequest[int] = SharedRequest(lambda: sent.append(None))
        assert [await request.wait(0.0), await request.wait(0.0)] == [None, None]
        assert len(sent) == 1  # a worker that is paused for a day finds one request, not thousands
        waiting = asyncio.gather(request.wait(20.0), request.wait(20.0))
        await asyncio.sleep(0)
        request.resolve(7)
        request.resolve(8)  # nobody waits for it
        assert list(await waiting) == [7, 7]
        assert len(sent) == 1

    run(test())
