"""Runs the user's own ASGI application with the same protocols, limits, log and shutdown as chatkit's server.

Access and messages are the application's own concern.
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

from chatkit.end_signals import end_signals, ignore_signals
from chatkit.errors import BadRequest, Unavailable
from chatkit.litestar import ChannelsPlugin
from chatkit.server.access_log import AccessLog
from chatkit.server.banner import application_banner, print_banner
from chatkit.server.client_address import TrustedProxies
from chatkit.server.listen import BACKLOG, listen
from chatkit.server.log_config import log_config
from chatkit.server.runner import HTTP_PROTOCOL, PROTOCOL, SHUTDOWN_S, ChatServer, raise_file_limit
from chatkit.server.settings import Settings
from chatkit.wire.codes import ExitCode


class ChannelReaders:
    """The readers of an application's channels, in place of the readers of a hub."""

    def __init__(self, application: object) -> None:
        plugins = application.plugins if isinstance(application, Litestar) else ()
        self._channels = [plugin for plugin in plugins if isinstance(plugin, ChannelsPlugin)]

    def check_shared(self) -> None:
        """Raise `BadRequest` if the channels are in this process's memory: each worker would have its own."""
        if not all(plugin.is_shared for plugin in self._channels):
            raise BadRequest(
                "the channels of this application are kept in memory, which workers do not share: give the plugin"
                " another backend, or serve with one worker"
            )

    def close_readers(self) -> None:
        """Close the iterators over channels: uvicorn would wait for them at shutdown."""
        for plugin in self._channels:
            plugin.end_iterators()


def load(name: str) -> Any:
    """Import the application named `module:attribute`; the attribute is `app` if not given. Raise `BadRequest`."""
    if not all(part.isidentifier() for part in name.partition(":")[0].split(".")):
        raise BadRequest(f"{name!r} names no module: write the application as package.module:name")
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
    """Serve the application until a signal arrives; return the exit status.

    Raise `BadRequest` if it does not exist, `Unavailable` if it does not start, `OSError` if the address is in use.
    """
    logging.config.dictConfig(log_config(settings))
    application = load(name)
    raise_file_limit()
    config = configure(application, settings)
    with listen(settings) as listening, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        banner = application_banner(name, settings, listening.getsockname()[1])
        server = ChatServer(config, ChannelReaders(application), lambda: print_banner(banner))
        runner.run(server.serve(sockets=[listening]))
    if not server.started:
        raise Unavailable(f"{name} did not start; the log says why")
    ignore_signals(end_signals())
    return ExitCode.INTERRUPTED if server.stopped_by == signal.SIGINT else ExitCode.DONE


def configure(application: Any, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration for the application."""
    return uvicorn.Config(
        AccessLog(application, TrustedProxies()) if settings.has_access_log else application,
        http=HTTP_PROTOCOL,
        ws=PROTOCOL,
        log_config=None,
        access_log=False,  # `access_log.py` replaces it
        server_header=False,
        limit_concurrency=settings.max_connections_each + 1,  # uvicorn refuses the connection that reaches this number
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=BACKLOG,
    )
