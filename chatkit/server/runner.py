"""Running the server: its socket, its greeting, and an end that takes seconds whatever the clients do."""

import asyncio
import errno
import gc
import logging
import logging.config
import resource
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import Final, Protocol
from urllib.parse import quote

import uvicorn
from litestar import Litestar

from chatkit import __version__
from chatkit.server.app import open_app
from chatkit.server.log import log_config
from chatkit.server.settings import Settings

PROTOCOL: Final = "chatkit.server.protocol:WebSocketProtocol"
HTTP_PROTOCOL: Final = "chatkit.server.protocol:HttpProtocol"
SHUTDOWN_S: Final = 3  # what clients and streams have to end by themselves; then they are ended
GC_THRESHOLD: Final = 20_000  # objects; at Python's 700, a thousand clients who connect cost a hundred collections
BACKLOG: Final = 4_096  # a restart brings every client back at once


class Readers(Protocol):
    """Those who read rooms or channels for as long as they are let."""

    def close_readers(self) -> None:
        """End them all."""


class Server(uvicorn.Server):
    """uvicorn's server, with what it does not do: it greets, and it ends streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, readers: Readers, greeting: str) -> None:
        super().__init__(config)
        self.stopped_by: int | None = None
        self._readers = readers
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say where to go."""
        await super().startup(sockets)
        _calm_collector()
        if self.started:
            print(self._greeting, file=sys.stderr, flush=True)  # noqa: T201  # what the person at the terminal waits for

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the readers first: a stream that waits for its room would be waited for, for ever."""
        self._readers.close_readers()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hear signals while serving. Raising them again afterwards, as uvicorn does, would break into the closing."""
        original = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
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
    settings = with_token(settings)
    logging.config.dictConfig(log_config(settings))
    raise_file_limit()
    loop_factory = uvicorn.Config("", log_config=None).get_loop_factory()  # uvloop where there is one
    with listen(settings) as listening, asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_serve(settings, listening))


async def _serve(settings: Settings, listening: socket.socket) -> int:
    async with open_app(settings) as app:
        hub = app.state.lobby.house.hub
        server = Server(_config(app, settings), hub, greeting(settings, listening.getsockname()[1]))
        await server.serve(sockets=[listening])
    return 130 if server.stopped_by == signal.SIGINT else 0


def with_token(settings: Settings) -> Settings:
    """Make a token for a server that others can reach, unless there is one or none is wanted."""
    if settings.open:
        return replace(settings, secret=None)
    if settings.secret is None and not settings.is_loopback:
        return replace(settings, secret=secrets.token_urlsafe(18))
    return settings


def _config(app: Litestar, settings: Settings) -> uvicorn.Config:
    limits = settings.limits
    return uvicorn.Config(
        app,
        http=HTTP_PROTOCOL,
        ws=PROTOCOL,
        lifespan="on",
        log_config=None,
        access_log=settings.log_level in {"debug", "info"},
        server_header=False,
        proxy_headers=False,  # nothing here depends on a client's address but the limit on its rate
        ws_max_size=6 * (limits.body + limits.data) + 1_024,  # a publish with every character escaped, as \\u0000 is
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=BACKLOG,
    )


def listen(settings: Settings) -> socket.socket:
    """Bind the address before anything else is opened. Raise `OSError` with a sentence."""
    host = settings.host.strip("[]")
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)  # before this, another one could have bound the same port
    except OSError as error:
        raise OSError(error.errno, _why_not(error, settings)) from error
    return listening


def _why_not(error: OSError, settings: Settings) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {settings.port} is in use: is another chatkit serving here? --port takes another"
    return f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}"


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


def greeting(settings: Settings, port: int) -> str:
    """Say where the server is, and what to type next."""
    host = socket.gethostname() if settings.is_wildcard else settings.host.strip("[]")
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    token = "" if settings.secret is None else f"?token={quote(settings.secret, safe='')}"
    server = "" if url == "http://127.0.0.1:8000" else f" --server {url}"
    bearer = "" if settings.secret is None else f" --token {shlex.quote(settings.secret)}"
    lines = [
        f"chatkit {__version__} keeps rooms in {settings.backend}",
        "",
        f"  open      {url}/{token}",
        f"  join      chatkit join ops{server}{bearer}",
        f"  publish   echo hello | chatkit publish ops{server}{bearer}",
        f"            curl -d hello {shlex.quote(f'{url}/rooms/ops/messages{token}')}",
        "",
        "Ctrl-C ends it.",
    ]
    if settings.open and not settings.is_loopback:
        lines.insert(0, "Warning: --open lets everyone who reaches this address read and write, without a token.")
    return "\n".join(lines)
