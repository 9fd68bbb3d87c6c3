"""A worker: one of several processes that serve one address, started as `-m chatkit.server.workers.worker FD`.

The descriptor is its link to the supervisor: orders come through it, the answer goes back, and when the other end is
closed, however the supervisor came to its end, the worker ends, too. Ctrl-C and a closed terminal reach the whole group
of processes: they are the supervisor's to hear.
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

from chatkit.errors import ChatkitError, Unavailable
from chatkit.server import external_app
from chatkit.server.app import open_app
from chatkit.server.log_config import log_config
from chatkit.server.runner import ChatServer, ReaderGroup, configure, raise_file_limit
from chatkit.server.workers.acceptor import Acceptor
from chatkit.server.workers.connection_counts import ConnectionCounts
from chatkit.server.workers.control import WorkerConfig, WorkerFailed, WorkerReady, encode, read_orders

NOT_OURS: Final = {signal.SIGINT, signal.SIGHUP}


class WorkerServer(ChatServer):
    """A server whose connections come through a door that it shares with others."""

    def __init__(self, config: uvicorn.Config, readers: ReaderGroup, door: Acceptor, ready: Callable[[], None]) -> None:
        super().__init__(config, readers, ready, ends_on=[signal.SIGTERM])
        self._door = door

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door in place of listening."""
        await super().startup(sockets)
        self._door.open(self._connect, lambda: len(self.server_state.connections))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door first: who comes in after the others were told to go would be told nothing."""
        await self._door.close()
        await super().shutdown(sockets)

    def _connect(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class Worker:
    """Serves by its orders until it is told to end, or until nobody is there to tell it."""

    def __init__(self, orders: WorkerConfig, link: socket.socket) -> None:
        self.is_ready = False
        self._orders = orders
        self._link = link
        self._tally = ConnectionCounts(_own(orders.tally_fd), orders.n_cells, orders.cell)
        self._door = Acceptor(socket.socket(fileno=_own(orders.listening_fd)), self._tally)

    def run(self) -> None:
        """Serve. Raise what keeps it from starting."""
        with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
            name = self._orders.application
            runner.run(self._serve_rooms() if name is None else self._serve_application(name))

    async def _serve_rooms(self) -> None:
        settings = self._orders.settings
        async with open_app(settings) as app:
            await self._serve(configure(app, settings), app.state.admission.context.hub)

    async def _serve_application(self, name: str) -> None:
        application = external_app.load(name)
        readers = external_app.ChannelReaders(application)
        readers.check_shared()
        try:
            await self._serve(external_app.configure(application, self._orders.settings), readers)
        except SystemExit as error:  # so uvicorn ends where an application does not start
            raise Unavailable(f"{name} did not start; the log says why") from error

    async def _serve(self, config: uvicorn.Config, readers: ReaderGroup) -> None:
        server = WorkerServer(config, readers, self._door, self._ready)
        watching = asyncio.create_task(self._end_with_supervisor(server))
        try:
            await server.serve(sockets=[])
        finally:
            watching.cancel()

    def _ready(self) -> None:
        self.is_ready = True
        with suppress(OSError):  # it has ended: we hear that in a moment
            self._link.sendall(encode(WorkerReady()))

    async def _end_with_supervisor(self, server: ChatServer) -> None:
        self._link.setblocking(False)  # noqa: FBT003  # its only parameter
        with suppress(OSError):
            await asyncio.get_running_loop().sock_recv(self._link, 1)  # nothing is said but the end
        server.handle_exit(signal.SIGTERM, None)


def main() -> int:
    """Take orders, and serve by them; return the exit status."""
    for number in NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NOT_OURS)  # the supervisor held them back until they were ignored
    link = socket.socket(fileno=_own(int(sys.argv[1])))
    with link, link.makefile("rb") as lines:
        line = lines.readline()
        return _serve(read_orders(line), link) if line else 1  # without a line, the supervisor has ended


def _serve(orders: WorkerConfig, link: socket.socket) -> int:
    logging.config.dictConfig(log_config(orders.settings))
    raise_file_limit()
    worker = Worker(orders, link)
    try:
        worker.run()
    except (ChatkitError, OSError) as error:
        if worker.is_ready:
            raise
        link.sendall(encode(WorkerFailed.of(error)))
        return 1
    return 0


def _own(fd: int) -> int:
    """Keep a descriptor from the processes that an application may start: it is this one's alone."""
    os.set_inheritable(fd, False)  # noqa: FBT003  # all that it takes
    return fd


if __name__ == "__main__":
    sys.exit(main())
