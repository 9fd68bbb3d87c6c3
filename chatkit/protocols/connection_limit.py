"""ConnectionLimit: how many connections one server process keeps, and which of them it closes to make room.

A served connection has sent a complete request and has a request, a stream or a WebSocket open: it is never closed
here. An idle connection was served before and waits for its next request. A waiting connection has not sent a
complete request yet, or was rejected. Knows nothing of HTTP or of WebSockets.
"""

import asyncio
import resource
import sys
from collections.abc import Iterable, Sized
from ipaddress import IPv6Address
from itertools import islice
from typing import Final

IDLE_S: Final = 1.0  # a connection that was just used is likely to be used again
_MIN_WAITING: Final = 16  # room for first requests, however small the limit is
_WAITING_SHARE: Final = 8  # 1/8 of a large limit: enough when many clients reconnect within seconds
_RESERVED_FILES: Final = 64  # descriptors for the store, the log and the page
_MAX_EXAMINED: Final = 64  # waiting connections whose addresses are compared; bounds the cost of a flood


class ConnectionLimit:
    """The connections of one process. `connections` contains all of them, in any protocol.

    At most `max_served` connections are served or idle. Waiting connections may use the rest of that number and a small
    allowance beyond it. Neither kind can keep others out: when the limit is reached, the oldest waiting connection is
    closed, preferably one from the newcomer's network, and the oldest idle connection makes room for a served one.
    """

    def __init__(self, connections: Sized, max_served: int = sys.maxsize) -> None:
        self.max_served = max_served
        self.max_open = _max_open(max_served)
        self._connections = connections
        self._waiting: dict[asyncio.Transport, None] = {}  # the oldest first
        self._idle: dict[asyncio.Transport, float] = {}  # by when they became idle; the oldest first
        self._aborted: set[asyncio.Transport] = set()  # closed here, and not yet reported as lost

    @property
    def n_waiting(self) -> int:
        """Return how many connections have not sent a request."""
        return len(self._waiting)

    @property
    def n_served(self) -> int:
        """Return how many connections are served or idle."""
        return len(self._connections) - len(self._waiting) - len(self._aborted)

    @property
    def sentence(self) -> str:
        """Return the error sentence for a client over the limit."""
        return f"this server takes at most {self.max_served} connections"

    def open(self, transport: asyncio.Transport) -> None:
        """Count a new connection, which must be in `connections`. Close a waiting one if there are too many."""
        self._waiting[transport] = None
        if len(self._connections) - len(self._aborted) > self.max_open:
            self._end_waiting(transport)

    def serve(self, transport: asyncio.Transport, now: float) -> bool:
        """Count a connection as served; return whether the limit allows it. If not, it counts as waiting."""
        self._waiting.pop(transport, None)
        self._idle.pop(transport, None)
        if self.n_served <= self.max_served or self._end_idle(transport, now):
            return True
        self._waiting[transport] = None
        return False

    def mark_idle(self, transport: asyncio.Transport, now: float) -> None:
        """Count a served connection as idle."""
        self._idle[transport] = now

    def close(self, transport: asyncio.Transport) -> None:
        """Remove a connection that is lost."""
        self._waiting.pop(transport, None)
        self._idle.pop(transport, None)
        self._aborted.discard(transport)

    def _end_waiting(self, newcomer: asyncio.Transport) -> None:
        oldest = _oldest_of(self._waiting, _network(newcomer))
        del self._waiting[oldest]
        self._end(oldest)

    def _end_idle(self, newcomer: asyncio.Transport, now: float) -> bool:
        rested = [one for one, since in islice(self._idle.items(), _MAX_EXAMINED) if now - since >= IDLE_S]
        if not rested:
            return False
        oldest = _oldest_of(rested, _network(newcomer))
        del self._idle[oldest]
        self._end(oldest)
        return True

    def _end(self, transport: asyncio.Transport) -> None:
        self._aborted.add(transport)
        transport.abort()


def _oldest_of(transports: Iterable[asyncio.Transport], network: object) -> asyncio.Transport:
    """Return the oldest connection of this network, or the oldest of all if none of those examined is."""
    examined = list(islice(transports, _MAX_EXAMINED))
    return next((one for one in examined if _network(one) == network), examined[0])


def _network(transport: asyncio.Transport) -> object:
    """Return the part of the address space that one client is likely to have: an IPv4 address or an IPv6 /64."""
    peer = transport.get_extra_info("peername")
    host = peer[0] if isinstance(peer, tuple) else None
    return int(IPv6Address(host)) >> 64 if host and ":" in host else host


def _max_open(max_served: int) -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = max(_MIN_WAITING, min(max_served, sys.maxsize // 2) // _WAITING_SHARE)
    bound = sys.maxsize if files == resource.RLIM_INFINITY else max(_MIN_WAITING, files - _RESERVED_FILES)
    return min(max_served + waiting, bound)
