"""One client's conversation: commands in, frames out. Knows no socket and no clock: they are arguments.

Here is what all conversations share: `text_session.py` is the one in plain text, `json_session.py` the one in JSON.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import msgspec

from chatkit.core.group_commit import Settle
from chatkit.core.history_queue import HistoryQueue
from chatkit.core.hub import Hub
from chatkit.core.model import (
    Cursor,
    Draft,
    Limits,
    Receipt,
)
from chatkit.core.room import Redaction, Signal, StoreAvailable, StoreUnavailable, Typing
from chatkit.core.roster import Change
from chatkit.core.subscription import Subscription
from chatkit.errors import ChatkitError, RateLimited, Unavailable
from chatkit.session.delivery import Delivery
from chatkit.session.turns import Turns, Work, next_turn, rest
from chatkit.websocket.codes import CloseCode
from chatkit.websocket.direct import DirectSocket
from chatkit.wire import protocol
from chatkit.wire.codes import close_code_of

MAX_OUTSTANDING = 512  # messages of one client that are not committed yet: beyond it, its socket is read no further
MAX_JOBS = 64  # commands of one client that wait for the store, likewise
MAX_UNREAD_BYTES = 1 << 20  # answers that wait for a client to take them, likewise: ten thousand acknowledgements

Job: TypeAlias = Callable[[], Awaitable[None]]


class Limiter(Protocol):
    """How much one sender may send."""

    def consume(self, n_bytes: int) -> float:
        """Take one message of so many bytes; return 0, or in how many seconds to try again."""

    def charge(self, cost: float) -> float:
        """Count a command that costs as much as so many messages; return for how long to serve the client no more."""

    def may_signal(self) -> bool:
        """Say whether something that is not stored may go to the others now; what may not is simply dropped."""


class SessionContext(msgspec.Struct, frozen=True):
    """What all sessions of a server share. `history` is how many messages a join without a cursor begins with.

    `turns` are those of joins and the like: a few are served at once, so that publishing never waits behind thousands.
    """

    hub: Hub
    server: str
    limits: Limits
    wire_limits: protocol.WireLimits
    history: int
    reads: HistoryQueue = msgspec.field(default_factory=HistoryQueue)
    turns: Turns = msgspec.field(default_factory=Turns)


class StartPosition(msgspec.Struct, frozen=True):
    """Where a join begins: at a cursor, or so many messages before the end (None: the server's default)."""

    after: Cursor | None = None
    history: int | None = None


class Session(ABC):
    """What both protocols share: publishing with back-pressure, jobs in order, and an end that leaves nothing behind.

    It hears of the socket by `received_text`, `received_binary`, `writable_again` and `closed`.
    """

    __slots__ = (
        "_address", "_house", "_is_held", "_is_resting", "_is_store_away", "_jobs", "_limiter", "_n_outstanding",
        "_n_unread_bytes", "_rooms", "_sender", "_socket", "_worker", "is_closed", "left",
    )  # fmt: skip

    def __init__(
        self, house: SessionContext, socket: DirectSocket, sender: str, limiter: Limiter | None, *, address: str = ""
    ) -> None:
        self.is_closed = False
        self._address = address
        self.left: Callable[[], None] | None = None  # called once, at the end
        self._house = house
        self._socket = socket
        self._sender = sender
        self._limiter = limiter
        self._rooms: dict[str, Delivery] = {}  # that this client reads
        self._n_outstanding = 0
        self._n_unread_bytes = 0  # of answers, since the socket was last writable
        # Few and rarely any: a deque would cost every session 600 bytes.
        self._jobs: list[tuple[Job, protocol.Ref | None]] = []
        self._worker: Work | None = None  # while it works the jobs off
        self._is_held = False  # the client is read no further
        self._is_resting = False  # because its commands cost more than it has earned
        self._is_store_away = False  # and the client knows it

    @abstractmethod
    async def start(self, room: str | None, start: StartPosition) -> None:
        """Greet the client and join the room that its path names. Raise a `ChatkitError` if that cannot be."""

    @abstractmethod
    def received_text(self, text: bytes) -> None:
        """Take one text of the client's, valid UTF-8."""

    @abstractmethod
    def _refuse(self, error: ChatkitError, ref: protocol.Ref | None = None) -> None:
        """Tell the client that something it asked for cannot be."""

    def _on_signal(self, signal: Signal) -> None:
        """Handle what happens beside the log in any room that is read here."""
        match signal:
            case StoreUnavailable(reason):
                if not self._is_store_away:
                    self._is_store_away = True
                    self._refuse(Unavailable(f"the store is away: {reason}"))
            case StoreAvailable():
                if self._is_store_away:
                    self._is_store_away = False
                    self._restored()
            case _:
                self._on_room_signal(signal)

    @abstractmethod
    def _restored(self) -> None:
        """Tell the client that the store is back."""

    @abstractmethod
    def _on_room_signal(self, signal: Change | Redaction | Typing) -> None:
        """Handle what happens in one room."""

    def received_binary(self) -> None:
        """Refuse a binary message: every protocol here is text."""
        self._socket.close(CloseCode.UNSUPPORTED_DATA, "text frames only")

    def writable_again(self) -> None:
        """Write what became due while the socket was full."""
        self._n_unread_bytes = 0
        self._let_go()
        self._work_off()
        for delivery in tuple(self._rooms.values()):
            delivery.wake()

    def closed(self, code: int) -> None:  # noqa: ARG002  # the socket's way of telling; every end is the same here
        """End: the client is present and reads no more. Ending again does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.left is not None:
            self.left()
        for delivery in tuple(self._rooms.values()):
            delivery.close()
        self._jobs.clear()
        if self._worker is not None:  # nobody waits for what it reads
            self._worker.cancel()

    def fail(self, error: ChatkitError) -> None:
        """Tell the client why this cannot go on, and close."""
        self._refuse(error)
        self._socket.close(close_code_of(error), str(error))

    async def _subscribe(self, room: str, start: StartPosition, delivery: Delivery) -> Subscription:
        house = self._house
        history = house.history if start.history is None else min(max(start.history, 0), house.limits.history)
        subscription = await house.hub.subscribe(
            room,
            after=start.after,
            history=history,
            member=self._sender,
            wake=delivery.wake,
            on_signal=self._on_signal,
        )
        if self.is_closed:  # the client left while the room was being opened
            subscription.close()
        return subscription

    def _submit(self, draft: Draft, settle: Settle, n_bytes: int) -> None:
        if self._limiter is not None and (wait_s := self._limiter.consume(n_bytes)):
            raise RateLimited(wait_s)
        self._house.hub.submit(draft, settle)
        self._n_outstanding += 1
        if self._n_outstanding >= MAX_OUTSTANDING:
            self._hold()

    def _settled(self, outcome: Receipt | ChatkitError, ref: protocol.Ref | None = None) -> None:
        self._n_outstanding -= 1
        if self._is_held:
            self._let_go()
        if self.is_closed:
            return
        if isinstance(outcome, ChatkitError):
            self._refuse(outcome, ref)
            return
        message = outcome.message
        if ref is not None:
            ack = protocol.AckEvent(message.room, message.seq, str(message.cursor), outcome.repeat, ref, message.time)
            self._send_text(protocol.encode(ack))
        # A sender need not wait for the round that wakes the others: its next message may wait for this one.
        delivery = self._rooms.get(message.room)
        if delivery and (reader := delivery.subscription) and reader.position < message.seq:
            delivery.wake()

    def _send_text(self, payload: bytes) -> None:
        """Answer; a client that asks on without taking its answers is read no further when they are many."""
        self._socket.send_text(payload)
        if not self._socket.is_writable:
            self._n_unread_bytes += len(payload)
            if self._n_unread_bytes > MAX_UNREAD_BYTES:
                self._hold()

    def _hold(self) -> None:
        if not self._is_held:
            self._is_held = True
            self._socket.pause_reading()

    def _let_go(self) -> None:
        """Read on from the client when none of the reasons to hold it is left."""
        if (
            self._is_held
            and not self.is_closed
            and not self._is_resting
            and self._n_outstanding <= MAX_OUTSTANDING // 2
            and len(self._jobs) < MAX_JOBS
            and self._n_unread_bytes <= MAX_UNREAD_BYTES
        ):
            self._is_held = False
            self._socket.resume_reading()

    def _charge(self, cost: float) -> None:
        """Count a command against the client's allowance; a client in debt is read no further until it has paid."""
        if self._limiter is None or self._is_resting or not self._limiter.charge(cost):
            return
        try:
            self._house.hub.spawn(self._rest(self._limiter))
        except ChatkitError:  # the server ends
            return
        self._is_resting = True
        self._hold()

    async def _rest(self, limiter: Limiter) -> None:
        await rest(lambda: 0.0 if self.is_closed else limiter.charge(0))
        self._is_resting = False
        self._let_go()

    def _do(self, job: Job, ref: protocol.Ref | None) -> None:
        """Run what has to wait for the store, one after the other, in the order in which the client asked."""
        self._jobs.append((job, ref))
        if len(self._jobs) >= MAX_JOBS:
            self._hold()
        self._work_off()

    def _work_off(self) -> None:
        if self._worker is not None or not self._jobs:
            return
        try:
            self._worker = self._house.hub.spawn(self._work())
        except ChatkitError as error:  # the server ends
            while self._jobs:
                self._refuse(error, self._jobs.pop(0)[1])

    async def _work(self) -> None:
        try:
            while self._jobs and self._n_unread_bytes <= MAX_UNREAD_BYTES:
                job, ref = self._jobs.pop(0)
                self._let_go()
                try:
                    await job()
                except ChatkitError as error:
                    self._refuse(error, ref)
                await next_turn()  # many who join must not keep the event loop for themselves
        finally:
            self._worker = None
