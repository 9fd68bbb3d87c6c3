"""Runs the server in this process: starts it, and shuts it down within seconds, whatever the clients do."""

import asyncio
import gc
import logging
import logging.config
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, Protocol

import uvicorn
from litestar import Litestar

from chatkit.end_signals import end_signals, ignore_signals
from chatkit.protocols.opener import OpenerConfig
from chatkit.server.app import open_app
from chatkit.server.banner import print_banner, startup_banner
from chatkit.server.first_token import make_first_token
from chatkit.server.listen import BACKLOG, listen
from chatkit.server.log_config import log_config
from chatkit.server.room_opener import RoomOpener
from chatkit.server.settings import Settings
from chatkit.wire.codes import ExitCode

PROTOCOL: Final = "chatkit.protocols.websocket:WebSocketProtocol"
ROOM_PROTOCOL: Final = "chatkit.protocols.websocket:RoomWebSocketProtocol"
HTTP_PROTOCOL: Final = "chatkit.protocols.detect:HttpProtocol"
SHUTDOWN_S: Final = 3  # clients and streams may end by themselves for this long; then they are closed
GC_THRESHOLD: Final = 20_000  # objects; with Python's 700, a thousand new connections cause a hundred collections


class ReaderGroup(Protocol):
    """The readers of rooms or channels, which go on until they are closed."""

    def close_readers(self) -> None:
        """Close all readers."""


class ChatServer(uvicorn.Server):
    """A uvicorn server that reports when it is ready, and closes the readers before it waits for their requests to end.

    `ready` is called once, when the server listens. The server stops on the signals `ends_on`, by default those
    of a single process, and handles no others.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        readers: ReaderGroup,
        ready: Callable[[], None],
        ends_on: Sequence[signal.Signals] = (),
    ) -> None:
        super().__init__(config)
        self.stopped_by: int | None = None
        self._readers = readers
        self._ready = ready
        self._ends_on = ends_on or end_signals()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then report that the server is ready."""
        try:
            await super().startup(sockets)
        except asyncio.CancelledError:  # interrupted in the moment before its signals were handled here
            await self.lifespan.shutdown()
            raise
        _tune_interpreter()
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the readers first: uvicorn would wait for a stream that waits for its room."""
        self._readers.close_readers()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving, and, if one has arrived, until the end of the process.

        Unlike uvicorn, do not raise them again: that would interrupt the shutdown.
        """
        original = {number: signal.signal(number, self.handle_exit) for number in self._ends_on}
        try:
            yield
        finally:
            if not self.should_exit:  # the server did not start
                for number, handler in original.items():
                    signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as in uvicorn
        """Stop at the first signal. uvicorn's method would skip the end of the application at a second SIGINT."""
        if not self.should_exit:
            self.should_exit = True
            self.stopped_by = sig


def run(settings: Settings) -> int:
    """Serve until a signal arrives; return the exit status. Raise `ChatkitError`, or `OSError` if it cannot listen."""
    gc.freeze()  # the modules: to collect garbage among them takes 40 ms, and there are only 0.4 MB of it
    logging.config.dictConfig(log_config(settings))
    raise_file_limit()
    loop_factory = uvicorn.Config("", log_config=None).get_loop_factory()  # uvloop, if it is installed
    with listen(settings) as listening, asyncio.Runner(loop_factory=loop_factory) as runner:
        status = runner.run(_serve(settings, listening))
    ignore_signals(end_signals())
    return status


async def _serve(settings: Settings, listening: socket.socket) -> int:
    async with open_app(settings) as app:
        hub = app.state.admission.context.hub
        first_token = await make_first_token(settings, hub)
        banner = startup_banner(settings, listening.getsockname()[1], first_token=first_token)
        server = ChatServer(configure(app, settings), hub, lambda: print_banner(banner))
        await server.serve(sockets=[listening])
    return ExitCode.INTERRUPTED if server.stopped_by == signal.SIGINT else ExitCode.DONE


def configure(app: Litestar, settings: Settings) -> OpenerConfig:
    """Return uvicorn's configuration for the server of rooms."""
    limits = settings.limits
    config = OpenerConfig(
        app,
        http=HTTP_PROTOCOL,
        ws=ROOM_PROTOCOL,
        lifespan="on",
        log_config=None,
        access_log=False,  # `access_log.py` replaces it
        server_header=False,
        proxy_headers=False,  # `client_address.py` reads X-Forwarded-For: it also has to know the peer
        ws_max_size=6 * (limits.body + limits.data)
        + 1_024,  # a publish command with every character escaped, as \\u0000 is
        limit_concurrency=settings.max_connections_each + 1,  # uvicorn refuses the connection that reaches this number
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=BACKLOG,
    )
    if not settings.has_access_log:  # the log is kept around the application
        config.opener = RoomOpener(app.state.admission, settings.path_prefix)
    return config


def _tune_interpreter() -> None:
    """Let threads run soon, exclude the program's own objects from garbage collection, and collect less often."""
    # The thread that commits needs the interpreter several times for each commit, and a busy loop keeps it that long.
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    gc.enable()


def raise_file_limit() -> None:
    """Raise the limit on open files to the most that the system allows, because each connection needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
