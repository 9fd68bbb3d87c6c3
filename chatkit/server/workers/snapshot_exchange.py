"""How each worker gets the snapshots of all: it asks the supervisor, which asks every worker.

A scrape reaches one worker only. Both ends have at most one request under way, and all who ask at the same time share
it. So a worker that is paused costs a bounded amount of memory, and a bounded delay.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from chatkit.server.metrics import Gather, Snapshots
from chatkit.server.snapshot import Snapshot
from chatkit.server.workers.control import (
    AllSnapshots,
    GatherSnapshots,
    TakeSnapshot,
    WorkerSnapshot,
    encode,
    read_supervisor_message,
    read_worker_message,
)

TakeOwn: TypeAlias = Callable[[], Awaitable[Snapshot]]
ResultT = TypeVar("ResultT")

MAX_LINE_BYTES: Final = 1 << 20  # a snapshot has about 2 KB
SNAPSHOT_TIMEOUT_S: Final = 1.0  # a worker that needs longer is paused or overloaded, and is reported as such
GATHER_TIMEOUT_S: Final = 3.0  # longer than the supervisor waits; Prometheus waits for 10 s


class SharedRequest(Generic[ResultT]):
    """A request that is sent once, and whose result all callers get that wait for it."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._result: asyncio.Future[ResultT] | None = None  # set while the request is under way

    async def wait(self, timeout_s: float) -> ResultT | None:
        """Return the result, or None if it does not arrive in time. The request is then still under way."""
        if self._result is None:
            self._result = asyncio.get_running_loop().create_future()
            self._send()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._result)  # the timeout of one caller must not cancel it for the others
        return None

    def resolve(self, result: ResultT) -> None:
        """Pass the result to the callers."""
        waiting, self._result = self._result, None
        if waiting is not None:
            waiting.set_result(result)


class SupervisorEnd:
    """The supervisor's end of the exchange with one worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._request: SharedRequest[Snapshot] = SharedRequest(lambda: writer.write(encode(TakeSnapshot())))

    async def snapshot(self) -> Snapshot | None:
        """Return the worker's snapshot, or None if it does not send one in time."""
        return await self._request.wait(SNAPSHOT_TIMEOUT_S)

    async def run(self, gather: Gather) -> None:
        """Read the worker's messages until it ends, and send it the snapshots that it asks for."""
        async with asyncio.TaskGroup() as sending:
            while line := await _read_line(self._reader):
                with suppress(msgspec.MsgspecError):  # a message of another version of chatkit
                    match read_worker_message(line):
                        case GatherSnapshots():
                            sending.create_task(self._send(gather))
                        case WorkerSnapshot(snapshot):
                            self._request.resolve(snapshot)

    async def _send(self, gather: Gather) -> None:
        self._writer.write(encode(AllSnapshots(dict(await gather()))))


class WorkerEnd:
    """The worker's end of the exchange. `take` takes its own snapshot; an application of others has none."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: TakeOwn | None = None) -> None:
        self._reader = reader
        self._writer = writer
        self._take = take
        self._request: SharedRequest[Snapshots] = SharedRequest(lambda: writer.write(encode(GatherSnapshots())))

    async def gather(self) -> Snapshots:
        """Return the snapshots of all workers; only this worker's if the supervisor does not answer in time."""
        return await self._request.wait(GATHER_TIMEOUT_S) or ({} if self._take is None else {0: await self._take()})

    async def run(self) -> None:
        """Read the supervisor's messages until it ends."""
        async with asyncio.TaskGroup() as sending:
            while line := await _read_line(self._reader):
                with suppress(msgspec.MsgspecError):  # a message of another version of chatkit
                    match read_supervisor_message(line):
                        case TakeSnapshot() if self._take is not None:
                            sending.create_task(self._send(self._take))
                        case AllSnapshots(snapshots):
                            self._request.resolve(snapshots)

    async def _send(self, take: TakeOwn) -> None:
        self._writer.write(encode(WorkerSnapshot(await take())))


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """Return the next line; nothing if the other process has ended or wrote too long a line."""
    with suppress(OSError, ValueError):
        return await reader.readline()
    return b""
