"""Who speaks here: the subscriber of the connection that this code serves.

The readers of a channel are told in rounds that are paced. Who speaks hears at once, because it may wait for its own
event before it says more.
"""

from contextvars import ContextVar
from typing import Protocol
from weakref import ReferenceType, ref


class CurrentSubscriber(Protocol):
    """One who may speak where it reads."""

    def hear(self) -> None:
        """Have what there is to read sent."""


# Held weakly: what is begun while a connection is served copies its context, and may outlive it. A living speaker holds
# its plugin, so that an id is enough to know that by.
_speaker: ContextVar[tuple[ReferenceType[CurrentSubscriber], int] | None] = ContextVar(
    "chatkit.litestar.current_subscriber", default=None
)


def serve(speaker: CurrentSubscriber, plugin: object) -> None:
    """Know that what is published from here on, in this context, is said by this one, who reads by that plugin."""
    _speaker.set((ref(speaker), id(plugin)))


def speaker_here(plugin: object) -> CurrentSubscriber | None:
    """Return who speaks. One who reads by another plugin may read in another thread, and is left alone."""
    held = _speaker.get()
    return held[0]() if held is not None and held[1] == id(plugin) else None
