"""WorkerProcess: one worker process and its control socket, as its supervisor sees it. Knows no other workers."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

from chatkit.errors import Unavailable
from chatkit.server.workers.control import WorkerConfig, WorkerFailed, encode, read_answer
from chatkit.server.workers.snapshot_exchange import MAX_LINE_BYTES, SupervisorEnd

START_TIMEOUT_S: Final = 60.0  # a store under load starts slowly; beyond that, the worker hangs
STOP_TIMEOUT_S: Final = 8.0  # 3 s for clients, 5 s for the store; containers are killed after 10 s
COMMAND: Final = (
    sys.executable,
    "-P",
    "-m",
    "chatkit.server.workers.worker",
)  # -P: do not import from the working directory

_logger = logging.getLogger(__name__)


class WorkerProcess:
    """A process that was started. It serves once `ready` has returned."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        cell: int,
    ) -> None:
        self.pid = process.pid
        self.cell = cell
        self._process = process
        self._answers, self._control = control
        self.exchange = SupervisorEnd(*control)

    @classmethod
    async def start(cls, config: WorkerConfig) -> Self:
        """Start a process with this configuration. It exits when this process exits, for whatever reason.

        Make one call at a time: signals are blocked in this whole process for a moment.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
            try:
                process = await _spawn(theirs.fileno(), config)
            except BaseException:
                writer.close()
                raise
        writer.write(encode(config))
        return cls(process, (reader, writer), config.cell)

    async def ready(self) -> None:
        """Wait until the worker serves. Raise the error that keeps it from starting."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self._answers.readline()
        except TimeoutError as error:
            raise Unavailable(f"worker {self.pid} was not ready within {START_TIMEOUT_S:.0f} s") from error
        except OSError:  # the process ended before it read its configuration
            line = b""
        answer = read_answer(line) if line else await self._describe_end()
        if isinstance(answer, WorkerFailed):
            raise answer.error

    async def _describe_end(self) -> WorkerFailed:
        status = await self.wait_ended()
        return WorkerFailed(Unavailable.code, f"worker {self.pid} ended by {cause(status)} before it was ready")

    async def wait_ended(self) -> int:
        """Wait until the process has ended; return its exit status."""
        status = await self._process.wait()
        self._control.close()
        return status

    async def stop(self) -> None:
        """Stop the process gracefully, or kill it if that takes too long; return when it has ended."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a paused process can then stop gracefully, too
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.wait_ended()
        except TimeoutError:
            _logger.warning("worker %d did not end within %.0f s: it is killed", self.pid, STOP_TIMEOUT_S)
            await self.kill()

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)
        await self.wait_ended()

    def _signal(self, number: signal.Signals) -> None:
        # Not `send_signal`: it polls, and takes the exit status from the event loop's watcher, which then reports 255.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


async def _spawn(control_fd: int, config: WorkerConfig) -> asyncio.subprocess.Process:
    fds = [control_fd, config.listening_fd, config.counts_fd]
    if config.limits_fd is not None:
        fds.append(config.limits_fd)
    with _block_signals(signal.SIGINT, signal.SIGHUP):
        return await asyncio.create_subprocess_exec(
            *COMMAND, str(control_fd), stdin=asyncio.subprocess.DEVNULL, pass_fds=fds
        )


def cause(status: int) -> str:
    """Describe why a process ended, by its exit status."""
    return f"status {status}" if status >= 0 else signal.Signals(-status).name


@contextmanager
def _block_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Block the terminal's signals while a process starts that does not ignore them yet; it inherits the mask.

    Without this, Ctrl-C during the start of Python would print a traceback.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
