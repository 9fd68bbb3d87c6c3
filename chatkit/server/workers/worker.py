"""A worker: one of several processes that serve one address, started as `-m chatkit.server.workers.worker FD`.

FD is its control socket to the supervisor: the worker reads its configuration from it and writes its answer to it. When
the other end is closed, because the supervisor has ended, the worker stops too. Ctrl-C and the hangup of a terminal
reach the whole process group; only the supervisor handles them.
"""

import asyncio
import logging.config
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import uvicorn

from chatkit.end_signals import ignore_signals
from chatkit.errors import ChatkitError, Unavailable
from chatkit.server import external_app
from chatkit.server.app import open_app
from chatkit.server.limit_table import LimitTable
from chatkit.server.log_config import log_config
from chatkit.server.runner import ChatServer, ReaderGroup, configure, raise_file_limit
from chatkit.server.snapshot import take_snapshot
from chatkit.server.workers.acceptor import Acceptor
from chatkit.server.workers.connection_counts import ConnectionCounts
from chatkit.server.workers.control import WorkerConfig, WorkerFailed, WorkerReady, encode, read_config
from chatkit.server.workers.snapshot_exchange import MAX_LINE_BYTES, TakeOwn, WorkerEnd

SUPERVISOR_SIGNALS: Final = {signal.SIGINT, signal.SIGHUP}


class WorkerServer(ChatServer):
    """A server that gets its connections from an `Acceptor` shared with other workers."""

    def __init__(
        self, config: uvicorn.Config, readers: ReaderGroup, acceptor: Acceptor, ready: Callable[[], None]
    ) -> None:
        super().__init__(config, readers, ready, ends_on=[signal.SIGTERM])
        self._acceptor = acceptor

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the acceptor instead of listening."""
        await super().startup(sockets)
        self._acceptor.open(self._connect, lambda: len(self.server_state.connections))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the acceptor first: a connection accepted after the others were closed would not be closed."""
        await self._acceptor.close()
        await super().shutdown(sockets)

    def _connect(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class Worker:
    """Serves its configuration until it is stopped or the supervisor has ended."""

    def __init__(self, config: WorkerConfig, control: socket.socket) -> None:
        self.is_ready = False
        self._config = config
        self._control = control
        self._counts = ConnectionCounts(_make_private(config.counts_fd), config.n_cells, config.cell)
        self._limits = None
        if config.limits_fd is not None:
            self._limits = LimitTable(_make_private(config.limits_fd), config.n_cells, config.cell)
        self._acceptor = Acceptor(socket.socket(fileno=_make_private(config.listening_fd)), self._counts)

    def run(self) -> None:
        """Serve. Raise the error that keeps it from starting."""
        with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
            name = self._config.application
            runner.run(self._serve_rooms() if name is None else self._serve_application(name))

    async def _serve_rooms(self) -> None:
        settings = self._config.settings
        async with open_app(settings, self._limits) as app:
            admission = app.state.admission
            exchange = await self._open_exchange(lambda: take_snapshot(admission))
            app.state.gather = exchange.gather
            await self._serve(configure(app, settings), admission.context.hub, exchange)

    async def _serve_application(self, name: str) -> None:
        application = external_app.load(name)
        readers = external_app.ChannelReaders(application)
        readers.check_shared()
        try:
            config = external_app.configure(application, self._config.settings)
            await self._serve(config, readers, await self._open_exchange(None))
        except SystemExit as error:  # raised by uvicorn if an application does not start
            raise Unavailable(f"{name} did not start; the log says why") from error

    async def _serve(self, config: uvicorn.Config, readers: ReaderGroup, exchange: WorkerEnd) -> None:
        server = WorkerServer(config, readers, self._acceptor, self._ready)
        following = asyncio.create_task(_follow_supervisor(server, exchange))
        try:
            await server.serve(sockets=[])
        finally:
            following.cancel()

    def _ready(self) -> None:
        self.is_ready = True
        with suppress(OSError):  # the supervisor has ended: `_follow_supervisor` notices it
            self._control.sendall(encode(WorkerReady()))

    async def _open_exchange(self, take: TakeOwn | None) -> WorkerEnd:
        # A duplicate, because its transport closes it, and an error is still to be reported on the other.
        reader, writer = await asyncio.open_connection(sock=self._control.dup(), limit=MAX_LINE_BYTES)
        return WorkerEnd(reader, writer, take)


async def _follow_supervisor(server: ChatServer, exchange: WorkerEnd) -> None:
    """Answer the supervisor, and stop the server when it has ended."""
    await exchange.run()
    server.handle_exit(signal.SIGTERM, None)


def main() -> int:
    """Read the configuration and serve; return the exit status."""
    for number in SUPERVISOR_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # The supervisor blocked them until they were ignored.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SUPERVISOR_SIGNALS)
    control = socket.socket(fileno=_make_private(int(sys.argv[1])))
    with control, control.makefile("rb") as lines:
        line = lines.readline()
        return _serve(read_config(line), control) if line else 1  # without a line, the supervisor has ended


def _serve(config: WorkerConfig, control: socket.socket) -> int:
    logging.config.dictConfig(log_config(config.settings))
    raise_file_limit()
    worker = Worker(config, control)
    try:
        worker.run()
    except (ChatkitError, OSError) as error:
        if worker.is_ready:
            raise
        control.sendall(encode(WorkerFailed.of(error)))
        return 1
    ignore_signals([signal.SIGTERM])
    return 0


def _make_private(fd: int) -> int:
    """Keep a descriptor out of processes that the application may start, and return it."""
    os.set_inheritable(fd, False)  # noqa: FBT003  # its only parameter
    return fd


if __name__ == "__main__":
    sys.exit(main())
