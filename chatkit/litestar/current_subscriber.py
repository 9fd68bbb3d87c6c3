"""The current subscriber: the one whose connection the running code serves.

Readers of a channel are woken in paced rounds. The current subscriber reads its own event at once after publishing it,
because the code may wait for that event before it continues.
"""

from contextvars import ContextVar
from typing import Protocol
from weakref import ReferenceType, ref


class CurrentSubscriber(Protocol):
    """A subscriber on whose behalf code publishes."""

    def send_due(self) -> None:
        """Send the events that are ready."""


# A weak reference: tasks started while a connection is served copy its context and may outlive it. A living subscriber
# holds a reference to its plugin, so the plugin's id stays unique.
_current: ContextVar[tuple[ReferenceType[CurrentSubscriber], int] | None] = ContextVar(
    "chatkit.litestar.current_subscriber", default=None
)


def set_current_subscriber(subscriber: CurrentSubscriber, plugin: object) -> None:
    """Set the subscriber on whose behalf this context publishes with this plugin."""
    _current.set((ref(subscriber), id(plugin)))


def current_subscriber(plugin: object) -> CurrentSubscriber | None:
    """Return the current subscriber. Return None for another plugin's subscriber, which may run in another thread."""
    held = _current.get()
    return held[0]() if held is not None and held[1] == id(plugin) else None
