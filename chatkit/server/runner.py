"""Running the server in this process: its beginning, and an end that takes seconds whatever the clients do."""

import asyncio
import gc
import logging
import logging.config
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, Protocol

import uvicorn
from litestar import Litestar

from chatkit.server.app import open_app
from chatkit.server.banner import announcement, say, with_token
from chatkit.server.listen import BACKLOG, listen
from chatkit.server.log_config import log_config
from chatkit.server.settings import Settings
from chatkit.wire.codes import ExitCode

PROTOCOL: Final = "chatkit.protocols.websocket:WebSocketProtocol"
ROOM_PROTOCOL: Final = "chatkit.protocols.websocket:RoomWebSocketProtocol"
HTTP_PROTOCOL: Final = "chatkit.protocols.detect:HttpProtocol"
ENDS_ON: Final = (signal.SIGINT, signal.SIGTERM)
SHUTDOWN_S: Final = 3  # what clients and streams have to end by themselves; then they are ended
GC_THRESHOLD: Final = 20_000  # objects; at Python's 700, a thousand clients who connect cost a hundred collections


class ReaderGroup(Protocol):
    """Those who read rooms or channels for as long as they are let."""

    def close_readers(self) -> None:
        """End them all."""


class ChatServer(uvicorn.Server):
    """uvicorn's server, with what it does not do: it says when it is ready, and ends streams before it waits for them.

    `ready` is called once, when it listens. It ends on the signals `ends_on`, and leaves all others as they are.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        readers: ReaderGroup,
        ready: Callable[[], None],
        ends_on: Sequence[signal.Signals] = ENDS_ON,
    ) -> None:
        super().__init__(config)
        self.stopped_by: int | None = None
        self._readers = readers
        self._ready = ready
        self._ends_on = ends_on

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        _calm_collector()
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the readers first: a stream that waits for its room would be waited for, for ever."""
        self._readers.close_readers()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hear signals while serving. Raising them again afterwards, as uvicorn does, would break into the closing."""
        original = {number: signal.signal(number, self.handle_exit) for number in self._ends_on}
        try:
            yield
        finally:
            for number, handler in original.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of the signal, and end."""
        self.stopped_by = sig
        super().handle_exit(sig, frame)


def run(settings: Settings) -> int:
    """Serve until a signal comes; return the exit status. Raise `ChatkitError`, or `OSError` for an address in use."""
    given = settings.secret
    settings = with_token(settings)
    logging.config.dictConfig(log_config(settings))
    raise_file_limit()
    loop_factory = uvicorn.Config("", log_config=None).get_loop_factory()  # uvloop where there is one
    with listen(settings) as listening, asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_serve(settings, listening, is_made=settings.secret != given))


async def _serve(settings: Settings, listening: socket.socket, *, is_made: bool) -> int:
    async with open_app(settings) as app:
        hub = app.state.lobby.house.hub
        said = announcement(settings, listening.getsockname()[1], is_made=is_made)
        server = ChatServer(configure(app, settings), hub, lambda: say(said))
        await server.serve(sockets=[listening])
    return ExitCode.INTERRUPTED if server.stopped_by == signal.SIGINT else ExitCode.DONE


def configure(app: Litestar, settings: Settings) -> uvicorn.Config:
    """Return what uvicorn has to know."""
    limits = settings.limits
    return uvicorn.Config(
        app,
        http=HTTP_PROTOCOL,
        ws=ROOM_PROTOCOL,
        lifespan="on",
        log_config=None,
        access_log=settings.log_level in {"debug", "info"},
        server_header=False,
        proxy_headers=False,  # nothing here depends on a client's address but the limit on its rate
        ws_max_size=6 * (limits.body + limits.data) + 1_024,  # a publish with every character escaped, as \\u0000 is
        limit_concurrency=settings.max_connections_each + 1,  # uvicorn refuses the connection that reaches it
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=BACKLOG,
    )


def _calm_collector() -> None:
    """Keep the garbage collector from walking over the program itself whenever some connections were opened."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


def raise_file_limit() -> None:
    """Let every connection that the settings allow have its file descriptor, as far as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
