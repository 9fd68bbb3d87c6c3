"""Phase: what an HTTP connection waits for. Each phase has a time limit of its own."""

from enum import Enum, auto
from typing import Final

from chatkit.protocols.handshake import HEAD_TIMEOUT_S

LINGER_S: Final = 2.0  # for a client to read why it was rejected, and to disconnect
DRAIN_S: Final = 5.0  # for the rest of a body that the application did not read


class Phase(Enum):
    """The phases of one request, in order, and the end of the connection."""

    HEAD = auto()  # a head is awaited: the connection's first one, or one that has started to arrive
    BODY = auto()  # the request's body and the response are awaited
    RESPONSE = auto()  # the application's response is awaited
    DRAIN = auto()  # the response is complete; the rest of the body is discarded
    IDLE = auto()  # the next request is awaited
    ENDING = auto()  # nothing is read any more


TIMES_S: Final = {Phase.HEAD: HEAD_TIMEOUT_S, Phase.DRAIN: DRAIN_S, Phase.ENDING: LINGER_S}
"""The time limits in seconds that depend neither on the request nor on the settings. A response has none."""
