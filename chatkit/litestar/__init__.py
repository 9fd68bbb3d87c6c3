"""Litestar's channels on chatkit's core: change the import, keep the application. Uses Litestar's terms."""

from importlib import import_module
from typing import TYPE_CHECKING

from litestar.channels.plugin import ChannelsException
from litestar.channels.subscriber import BacklogStrategy, EventCallback

from chatkit.litestar.backends import LogChannelsBackend, SqliteChannelsBackend
from chatkit.litestar.events import Event, Published
from chatkit.litestar.memory import MemoryChannelsBackend
from chatkit.litestar.plugin import ChannelsPlugin
from chatkit.litestar.subscriber import Subscriber

if TYPE_CHECKING:  # what `__getattr__` imports
    from chatkit.litestar.postgres import AsyncPgChannelsBackend as AsyncPgChannelsBackend
    from chatkit.litestar.postgres import PsycoPgChannelsBackend as PsycoPgChannelsBackend
    from chatkit.litestar.redis import RedisChannelsPubSubBackend as RedisChannelsPubSubBackend
    from chatkit.litestar.redis import RedisChannelsStreamBackend as RedisChannelsStreamBackend

__all__ = [
    "BacklogStrategy",
    "ChannelsException",
    "ChannelsPlugin",
    "Event",
    "EventCallback",
    "LogChannelsBackend",
    "MemoryChannelsBackend",
    "Published",
    "SqliteChannelsBackend",
    "Subscriber",
]

# Backends that need a driver, which is imported on the first use of the name: the module and the packages to install.
_WITH_DRIVER = {
    "RedisChannelsStreamBackend": ("chatkit.litestar.redis", "redis hiredis"),
    "RedisChannelsPubSubBackend": ("chatkit.litestar.redis", "redis hiredis"),
    "AsyncPgChannelsBackend": ("chatkit.litestar.postgres", "'chatkit[postgres]'"),
    "PsycoPgChannelsBackend": ("chatkit.litestar.postgres", "'chatkit[postgres]'"),
}
_DRIVERS = {"redis", "hiredis", "asyncpg"}


def __getattr__(name: str) -> object:
    """Import a backend that needs a driver. Raise `ImportError` with the command that installs a missing driver."""
    if name not in _WITH_DRIVER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, packages = _WITH_DRIVER[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _DRIVERS:
            raise
        raise ImportError(f"{name} needs a driver that is not installed: pip install {packages}", name=name) from error


def __dir__() -> list[str]:
    return [*globals(), *_WITH_DRIVER]
