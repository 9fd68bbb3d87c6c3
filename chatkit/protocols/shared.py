"""SharedState: the settings, timers, turns, limit and handshake negotiator that all connections of one server use.

Knows nothing of what a connection does.
"""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any, ClassVar, Final, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.server import ServerProtocol
from websockets.typing import ExtensionParameter

from chatkit.protocols.connection_limit import ConnectionLimit
from chatkit.protocols.opener import OpenerConfig
from chatkit.protocols.turn_queue import TurnQueue

_TICK_S: Final = 0.05
_STALL_S: Final = 0.1  # a timer this late shows that the process was paused or busy
_SERVER_BITS: Final = "server_max_window_bits"
_MAX_AGREEMENTS: Final = 64  # that are kept: each browser and each library sends one offer, which is parsed once
_MAX_KEPT_CHARS: Final = 256  # of an offer that is kept
_WINDOW_BITS: Final = 12  # 4 KiB: enough for chat messages, at an eighth of the memory of 15 bits


class TimerTarget(Protocol):
    """An object that a `TimerWheel` calls. The wheel owns `due_tick`: it is 0 while no timer is set."""

    due_tick: int

    def on_timer(self) -> None:
        """Handle the timer."""


class TimerWheel:
    """The timers of all connections of one server, on one timer of the loop. A connection has at most one timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, set[TimerTarget]] = {}
        self._ticks: list[int] = []  # a heap of the keys of `_due`, possibly with keys already removed
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = -inf

    def set(self, timed: TimerTarget, delay_s: float) -> None:
        """Call `on_timer` once, `delay_s` from now or up to a tick later. Replaces a timer set before."""
        self.clear(timed)
        tick = int((self._loop.time() + delay_s) / _TICK_S) + 1
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = set()
            heappush(self._ticks, tick)
            if self._timer is None or tick * _TICK_S < self._timer_at:
                self._wake_at(tick * _TICK_S)
        due.add(timed)
        timed.due_tick = tick

    def clear(self, timed: TimerTarget) -> None:
        due = self._due.get(timed.due_tick)
        timed.due_tick = 0
        if due is not None:
            due.discard(timed)

    def _wake_at(self, time: float, *, is_late: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = time
        self._timer = self._loop.call_at(time, self._run_due, is_late)

    def _run_due(self, is_late: bool) -> None:  # noqa: FBT001 - call_at passes no keywords
        self._timer = None
        now = self._loop.time()
        if now - self._timer_at > _STALL_S and not is_late:
            # Nothing was read while the process stood still, and timers may run before reads: read first, then judge.
            self._wake_at(now + _STALL_S, is_late=True)
            return
        while self._ticks and self._ticks[0] * _TICK_S <= now:
            tick = heappop(self._ticks)
            for timed in self._due.pop(tick, ()):
                if timed.due_tick == tick:  # false if a call before it set or cleared this timer
                    timed.due_tick = 0
                    timed.on_timer()
        if self._ticks:  # replaces a wake-up set by the calls above: another timer may be due earlier
            self._wake_at(self._ticks[0] * _TICK_S)


class _Deflate(ServerPerMessageDeflateFactory):
    """websockets' negotiation, without the parameter that a client has not offered.

    A server MAY limit its own window without naming the parameter (RFC 7692, section 7.1.2.1), and some clients refuse
    a response that names it.
    """

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Return the parameters of the response, and the extension."""
        answer, extension = super().process_request_params(params, accepted_extensions)
        if not any(name == _SERVER_BITS for name, _ in params):
            answer = [(name, value) for name, value in answer if name != _SERVER_BITS]
        return answer, extension


class Agreement(NamedTuple):
    """What a server agrees to of the extensions that a client offers: the header that says so, and the window bits.

    Zero bits mean that nothing is compressed in this direction.
    """

    header: str | None
    deflate_bits: int
    inflate_bits: int


class SharedState:
    """What the connections of one server have in common, so that none has to carry it."""

    _of: ClassVar["WeakKeyDictionary[ServerState, SharedState]"] = WeakKeyDictionary()

    def __init__(self, config: Config, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.loop = loop
        self.wheel = TimerWheel(loop)
        self.turns = TurnQueue(loop)  # of clients that send much
        self.starts = TurnQueue(loop)  # of new connections: a request or a handshake costs a millisecond
        websocket: Any = config.ws_protocol_class
        # Other classes expect a head rebuilt by an HTTP parser, and do not count their connections.
        self.has_own_websocket: bool = getattr(websocket, "reads_raw_heads", False)
        self.opener = config.opener if isinstance(config, OpenerConfig) else None
        # uvicorn rejects the connection that reaches its limit; here the limit is the number served.
        n_most = config.limit_concurrency
        self.limit = ConnectionLimit(state.connections, sys.maxsize if n_most is None else n_most - 1)
        # Without context takeover, a message compressed once can be sent to every client with the same window, no
        # connection keeps a window in memory, and a final block from a client does not affect later messages.
        deflate = _Deflate(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=_WINDOW_BITS,
            client_max_window_bits=_WINDOW_BITS,
        )
        # Shared by all connections: it only negotiates requests, and each result is read at once.
        self.negotiator = ServerProtocol(extensions=[deflate] if config.ws_per_message_deflate else [])
        self._agreements: dict[str, Agreement] = {}

    def agree(self, offer: str) -> Agreement:
        """Return the agreement on the value of a `Sec-WebSocket-Extensions` header. Raise `InvalidHandshake`."""
        agreed = self._agreements.get(offer)
        if agreed is None:
            agreed = agreement(*self.negotiator.process_extensions(Headers({"Sec-WebSocket-Extensions": offer})))
            if len(offer) <= _MAX_KEPT_CHARS and len(self._agreements) < _MAX_AGREEMENTS:
                self._agreements[offer] = agreed
        return agreed

    @classmethod
    def of(cls, config: Config, state: ServerState, loop: asyncio.AbstractEventLoop | None) -> "SharedState":
        """Return the state of a server; its first connection creates it."""
        shared = cls._of.get(state)
        if shared is None:
            shared = cls._of[state] = cls(config, state, loop or asyncio.get_event_loop())
        return shared


def agreement(header: str | None, extensions: Iterable[Extension]) -> Agreement:
    """Return the agreement on these extensions."""
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate):
            return Agreement(header, extension.local_max_window_bits, extension.remote_max_window_bits)
    return Agreement(header, 0, 0)
