"""Serving somebody else's application as chatkit serves its own: the same protocols, limits, log and end.

Who may come in, and what is said, is the application's.
"""

import asyncio
import logging.config
import os
import signal
import sys
from typing import Any

import uvicorn
from litestar import Litestar
from uvicorn.importer import ImportFromStringError, import_from_string

from chatkit.errors import BadRequest, Unavailable
from chatkit.litestar import ChannelsPlugin
from chatkit.server.banner import application_greeting, say
from chatkit.server.listen import BACKLOG, listen
from chatkit.server.log_config import log_config
from chatkit.server.runner import HTTP_PROTOCOL, PROTOCOL, SHUTDOWN_S, ChatServer, raise_file_limit
from chatkit.server.settings import Settings
from chatkit.wire.codes import ExitCode


class ChannelReaders:
    """What an application's channels are read by, in the place of a hub's readers."""

    def __init__(self, application: object) -> None:
        plugins = application.plugins if isinstance(application, Litestar) else ()
        self._channels = [plugin for plugin in plugins if isinstance(plugin, ChannelsPlugin)]

    def check_shared(self) -> None:
        """Raise `BadRequest` where channels are kept in this process: each worker would have its own."""
        if not all(plugin.is_shared for plugin in self._channels):
            raise BadRequest("the channels of this application are kept in memory: workers would not share them")

    def close_readers(self) -> None:
        """End what iterates over channels: it would be waited for, for ever."""
        for plugin in self._channels:
            plugin.end_iterators()


def load(name: str) -> Any:
    """Import the application that `module:attribute` names; a module alone has it as `app`. Raise `BadRequest`."""
    if not all(part.isidentifier() for part in name.partition(":")[0].split(".")):
        raise BadRequest(f"{name!r} names no module: an application is as package.module:name")
    folder = os.getcwd()  # noqa: PTH109  # sys.path holds strings
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        application = import_from_string(name if ":" in name else f"{name}:app")
    except (ImportFromStringError, ModuleNotFoundError, ValueError) as error:
        raise BadRequest(f"there is no application {name!r}: {error}") from error
    if not callable(application):
        raise BadRequest(f"{name!r} is not an ASGI application")
    return application


def run(name: str, settings: Settings) -> int:
    """Serve the application until a signal comes; return the exit status.

    Raise `BadRequest` where there is none, `Unavailable` where it does not start, `OSError` for an address in use.
    """
    logging.config.dictConfig(log_config(settings))
    application = load(name)
    raise_file_limit()
    config = configure(application, settings)
    with listen(settings) as listening, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        said = application_greeting(name, settings, listening.getsockname()[1])
        server = ChatServer(config, ChannelReaders(application), lambda: say(said))
        runner.run(server.serve(sockets=[listening]))
    if not server.started:
        raise Unavailable(f"{name} did not start; the log says why")
    return ExitCode.INTERRUPTED if server.stopped_by == signal.SIGINT else ExitCode.DONE


def configure(application: Any, settings: Settings) -> uvicorn.Config:
    """Return what uvicorn has to know."""
    return uvicorn.Config(
        application,
        http=HTTP_PROTOCOL,
        ws=PROTOCOL,
        log_config=None,
        access_log=settings.log_level in {"debug", "info"},
        server_header=False,
        limit_concurrency=settings.max_connections_each + 1,  # uvicorn refuses the connection that reaches it
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=BACKLOG,
    )
