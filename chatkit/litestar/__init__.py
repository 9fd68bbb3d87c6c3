"""Litestar's channels on chatkit's core: change the import, keep the application. Speaks Litestar's words."""

from litestar.channels.plugin import ChannelsException
from litestar.channels.subscriber import BacklogStrategy, EventCallback

from chatkit.litestar.backends import LogChannelsBackend, SqliteChannelsBackend
from chatkit.litestar.event import Event, Published
from chatkit.litestar.memory import MemoryChannelsBackend
from chatkit.litestar.plugin import ChannelsPlugin
from chatkit.litestar.subscriber import Subscriber

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

_OF_LATER_VERSIONS = {
    "RedisChannelsStreamBackend": "Redis",
    "RedisChannelsPubSubBackend": "Redis",
    "AsyncPgChannelsBackend": "PostgreSQL",
    "PsycoPgChannelsBackend": "PostgreSQL",
}


def __getattr__(name: str) -> object:
    """Say what is missing where somebody imports a backend that this version does not have."""
    if name in _OF_LATER_VERSIONS:
        raise ImportError(
            f"this version of chatkit has no {_OF_LATER_VERSIONS[name]} backend, and so no {name}: it has "
            "MemoryChannelsBackend and SqliteChannelsBackend, and its ChannelsPlugin takes Litestar's own "
            f"{name} as its backend",
            name=__name__,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
