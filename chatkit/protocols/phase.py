"""Phase: what an HTTP connection waits for. Each phase has a time limit of its own."""

from enum import Enum, auto


class Phase(Enum):
    """The phases of one request, in order, and the end of the connection."""

    HEAD = auto()  # a head is awaited: the connection's first one, or one that has started to arrive
    BODY = auto()  # the request's body and the response are awaited
    RESPONSE = auto()  # the application's response is awaited
    DRAIN = auto()  # the response is complete; the rest of the body is discarded
    IDLE = auto()  # the next request is awaited
    ENDING = auto()  # nothing is read any more
