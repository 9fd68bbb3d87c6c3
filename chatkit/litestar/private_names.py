"""Emulates *private* names of Litestar's channels. Litestar may rename them in any release.

Applications and Litestar's own test suite use some of them: `_history` of the memory backend, and `_make_key` of the
Redis backends. `is_sent_unchanged` depends on how Litestar wraps `send`. What cannot be here are methods of Litestar's
classes that subclasses override: `_on_startup`, `_on_shutdown` and `_ws_handler_func` in `plugin`, `_worker` in
`subscriber`; and the attributes `_queue` and `_backend` of subscribers.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Final, Protocol

from chatkit.core.model import Message
from chatkit.litestar.events import payload_of, room_of

if TYPE_CHECKING:  # importing it at run time would load the driver
    from chatkit.backends.redis import KeyNames


class StoredHistory(Protocol):
    """The rooms of which the memory backend keeps a history."""

    def history(self, room: str) -> list[Message]:
        """Return a room's history."""

    def rooms_with_history(self) -> list[str]:
        """Return the rooms that have a history."""

    def forget(self, room: str) -> None:
        """Drop a room's messages."""


class HistoryView(Mapping[str, deque[bytes]]):
    """The memory backend's `_history`: a copy of each channel's history. `pop` and `clear` delete histories."""

    def __init__(self, stored: StoredHistory, max_events: int) -> None:
        self._stored = stored
        self._max_events = max_events

    def __getitem__(self, channel: str) -> deque[bytes]:
        return deque(map(payload_of, self._stored.history(room_of(channel))), maxlen=self._max_events)

    def __contains__(self, channel: object) -> bool:
        return isinstance(channel, str) and bool(self._stored.history(room_of(channel)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored.rooms_with_history())

    def __len__(self) -> int:
        return len(self._stored.rooms_with_history())

    def pop(self, channel: str, default: object = None) -> object:
        """Delete a channel's history, and return it."""
        history: object = deque(self[channel]) if channel in self else default
        self._stored.forget(room_of(channel))
        return history

    def clear(self) -> None:
        """Delete every channel's history."""
        for room in self._stored.rooms_with_history():
            self._stored.forget(room)


class StreamKeyName:
    """The `_make_key` of the Redis backend with a history."""

    _names: "KeyNames"

    def _make_key(self, channel: str) -> str:
        """Return the key of a channel's stream. Names that differ in case are different channels."""
        return self._names.of(room_of(channel)).log.decode()


class PubSubKeyName:
    """The `_make_key` of the Redis backend without a history."""

    _names: "KeyNames"

    def _make_key(self, channel: str) -> str:
        """Return the Redis channel of a channel. Names that differ in case are different channels."""
        return self._names.of(room_of(channel)).channel.decode()


def is_sent_unchanged(send: object, socket: object) -> bool:
    """Return whether an ASGI `send` is the socket's own method, wrapped at most by Litestar's own wrappers.

    The wrapper of another middleware may inspect or change messages, so it must receive every event.
    """
    while not isinstance(send, MethodType):
        module, code = getattr(send, "__module__", ""), getattr(send, "__code__", None)
        if code is None or "send" not in code.co_freevars or module not in _TRANSPARENT:
            return False
        send = send.__closure__[code.co_freevars.index("send")].cell_contents  # type: ignore[attr-defined]  # a function
    return send.__self__ is socket


# The modules of Litestar whose wrappers of `send` pass on each event unchanged.
_TRANSPARENT: Final = frozenset(
    {"litestar.connection.websocket", "litestar.middleware._internal.exceptions.middleware"}
)
