"""Hand: a worker as its supervisor sees it, a process and the link to it. Knows nothing of the other workers."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

from chatkit.errors import Unavailable
from chatkit.server.workers.control import WorkerConfig, WorkerFailed, encode, read_answer

START_S: Final = 60.0  # a store under load takes its time; what takes longer has hung
END_S: Final = 8.0  # clients have three seconds, the store five; a container's own patience is ten
COMMAND: Final = (
    sys.executable,
    "-P",
    "-m",
    "chatkit.server.workers.worker",
)  # -P: a folder is no place to import from

_logger = logging.getLogger(__name__)


class WorkerProcess:
    """A process that was started. It serves when `ready` has returned, and is gone when `gone` has."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        link: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        cell: int,
    ) -> None:
        self.pid = process.pid
        self.cell = cell
        self._process = process
        self._answers, self._link = link

    @classmethod
    async def start(cls, orders: WorkerConfig) -> Self:
        """Start a process with these orders. It ends when this process does, however that ends.

        One call at a time: what is held back meanwhile is held back from this whole process.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await _spawn(theirs.fileno(), orders)
            except BaseException:
                writer.close()
                raise
        writer.write(encode(orders))
        return cls(process, (reader, writer), orders.cell)

    async def ready(self) -> None:
        """Return when it serves. Raise why it does not."""
        try:
            async with asyncio.timeout(START_S):
                line = await self._answers.readline()
        except TimeoutError as error:
            raise Unavailable(f"worker {self.pid} was not ready within {START_S:.0f} s") from error
        except OSError:  # the link was cut before the orders were read
            line = b""
        answer = read_answer(line) if line else await self._last_words()
        if isinstance(answer, WorkerFailed):
            raise answer.error

    async def _last_words(self) -> WorkerFailed:
        status = await self.gone()
        return WorkerFailed(Unavailable.code, f"worker {self.pid} ended by {cause(status)} before it was ready")

    async def gone(self) -> int:
        """Return its exit status when it has ended."""
        status = await self._process.wait()
        self._link.close()
        return status

    async def end(self) -> None:
        """Have it end in order, or, if that takes too long, at once; return when it is gone."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # one that was paused can then say goodbye, too
        try:
            async with asyncio.timeout(END_S):
                await self.gone()
        except TimeoutError:
            _logger.warning("worker %d did not end within %.0f s: it is killed", self.pid, END_S)
            await self.kill()

    async def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)
        await self.gone()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


async def _spawn(link_fd: int, orders: WorkerConfig) -> asyncio.subprocess.Process:
    fds = (link_fd, orders.listening_fd, orders.tally_fd)
    with _held_back(signal.SIGINT, signal.SIGHUP):
        return await asyncio.create_subprocess_exec(
            *COMMAND, str(link_fd), stdin=asyncio.subprocess.DEVNULL, pass_fds=fds
        )


def cause(status: int) -> str:
    """Say by what a process ended."""
    return f"status {status}" if status >= 0 else signal.Signals(-status).name


@contextmanager
def _held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Keep signals of the terminal from a process that does not ignore them yet; it inherits what is held back.

    Without this, Ctrl-C while Python starts there would print a traceback.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
