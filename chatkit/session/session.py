"""Session: what the sessions of both protocols share. Handles a client's frames, and writes frames to its socket.

`text_session.py` is the session in plain text, `json_session.py` the one in JSON. Knows no sockets and no clocks: they
are passed in.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from chatkit.core.access import Identity, Right, is_system_room
from chatkit.core.group_commit import MAX_SUBMITTED, Outcome, SettleAll
from chatkit.core.model import Draft
from chatkit.core.signals import RoomChanged, RoomSignal, Signal, StoreAvailable, StoreUnavailable
from chatkit.core.subscription import Subscription
from chatkit.errors import ChatkitError, Forbidden, RateLimited, Unavailable
from chatkit.session.context import SessionContext, StartPosition
from chatkit.session.delivery import Delivery
from chatkit.session.limiter import Limiter
from chatkit.session.scheduling import Cancellable, next_turn, sleep_until_zero
from chatkit.websocket.codes import CloseCode
from chatkit.websocket.direct import DirectSocket
from chatkit.websocket.frames import TEXT, make_message
from chatkit.wire import protocol
from chatkit.wire.codes import close_code_of, text_of

# Beyond each of these bounds, the client's socket is not read until it is below the bound again.
MAX_OUTSTANDING = MAX_SUBMITTED  # messages of one client that are not committed yet
MAX_JOBS = 64  # commands of one client that wait for the store
MAX_UNREAD_BYTES = 1 << 20  # answers that the client has not read: ten thousand acknowledgements

NO_ROOMS: frozenset[str] = frozenset()  # shared by the sessions that have published nothing, which are most
MAX_WRITABLE = 64  # rooms to which the client may publish that are remembered: as many as it may join by default

Job: TypeAlias = Callable[[], Awaitable[None]]


class Session(ABC):
    """What both protocols share: rights, publishing with back-pressure, jobs in order, and a complete clean-up.

    The server calls `received_texts`, `received_binary`, `writable_again` and `closed`: a session is a `Receiver`. From
    `start` until it is closed, the hub calls `on_access_changed`.
    """

    __slots__ = (
        "_access", "_context", "_is_over_allowance", "_is_reading_paused", "_is_store_unavailable", "_jobs",
        "_limiter", "_n_outstanding", "_n_unread_bytes", "_rooms", "_sender", "_socket", "_worker", "_writable",
        "_writable_generation", "identity", "is_closed", "on_end",
    )  # fmt: skip

    def __init__(
        self, context: SessionContext, socket: DirectSocket, identity: Identity, limiter: Limiter | None
    ) -> None:
        self.is_closed = False
        self.identity = identity
        self.on_end: Callable[[], None] | None = None  # called once, when the session ends
        self._access = context.hub.access
        self._context = context
        self._socket = socket
        self._sender = identity.name
        self._limiter = limiter
        self._writable = NO_ROOMS  # rooms to which the client may publish, as of `_writable_generation`
        self._writable_generation = self._access.generation
        self._rooms: dict[str, Delivery] = {}  # the rooms that this client reads
        self._n_outstanding = 0
        self._n_unread_bytes = 0  # of answers since the socket was last writable
        # A list, because it is nearly always empty, and an empty deque takes 600 bytes in every session.
        self._jobs: list[tuple[Job, protocol.Ref | None]] = []
        self._worker: Cancellable | None = None  # the task that runs the jobs
        self._is_reading_paused = False  # no frames are read from the client
        self._is_over_allowance = False  # its commands cost more than its allowance
        self._is_store_unavailable = False  # as reported to the client

    async def start(self, room: str | None, start: StartPosition) -> None:
        """Start the session, and join the room that its path names. Raise a `ChatkitError` if that fails."""
        self._access.watchers.add(self)  # before the first wait, so that the session is notified of each change
        await self._start(room, start)

    def starts_at_once(self, room: str | None, start: StartPosition) -> bool:
        """Return whether `start` would not wait for the store."""
        return room is not None and self._context.hub.is_in_memory(room, start.after)

    @abstractmethod
    async def _start(self, room: str | None, start: StartPosition) -> None:
        """Greet the client, and join the room."""

    def received_texts(self, texts: list[bytes]) -> int:
        """Handle text messages from the client, and return how many: the others are received again.

        Messages that can all be published are published together, by the same rules as one after another.
        """
        if len(texts) == 1:
            self.received_text(texts[0])
            return 1
        together = texts[: max(1, MAX_OUTSTANDING - self._n_outstanding)]
        if self._publish_all(together):  # if some are left, reading is paused now
            return len(together)
        for n, text in enumerate(texts, 1):
            self.received_text(text)
            if self._is_reading_paused or self.is_closed:
                return n
        return len(texts)

    @abstractmethod
    def _publish_all(self, texts: list[bytes]) -> bool:
        """Publish text messages together. If one may be refused, or does something else, return False."""

    @abstractmethod
    def received_text(self, text: bytes) -> None:
        """Handle one text message from the client, which is valid UTF-8."""

    def _refuse(self, error: ChatkitError, ref: protocol.Ref | None = None) -> None:
        """Count the refusal of a command, and send its error."""
        self._context.refusals.errors[error.code] += 1
        self._send_error(error, ref)

    @abstractmethod
    def _send_error(self, error: ChatkitError, ref: protocol.Ref | None = None) -> None:
        """Send an error to the client. `ref` is that of the refused command."""

    def _on_signal(self, signal: Signal) -> None:
        """Handle a signal of any room that this client reads."""
        match signal:
            case StoreUnavailable(reason):
                if not self._is_store_unavailable:
                    self._is_store_unavailable = True
                    self._send_error(Unavailable(f"the store is unavailable: {reason}"))
            case StoreAvailable():
                if self._is_store_unavailable:
                    self._is_store_unavailable = False
                    self._send_restored()
            case RoomChanged(room) if error := self._loss_of(room):
                self._expel(room, error)
            case _:
                self._on_room_signal(signal)

    def _loss_of(self, room: str) -> ChatkitError | None:
        """Return why the client may not read a room any more. While the room is being renamed, its readers stay."""
        error = self._refusal(Right.READ, room)
        return None if isinstance(error, Unavailable) else error

    @abstractmethod
    def _send_restored(self) -> None:
        """Notify the client that the store is available again."""

    @abstractmethod
    def _on_room_signal(self, signal: RoomSignal) -> None:
        """Handle a signal of one room."""

    def received_binary(self) -> None:
        """Close the connection: every protocol here is text."""
        self._socket.close(CloseCode.UNSUPPORTED_DATA, "text frames only")

    def writable_again(self) -> None:
        """Write what became due while the socket was full."""
        self._n_unread_bytes = 0
        self._resume_reading()
        self._start_jobs()
        for delivery in tuple(self._rooms.values()):
            delivery.wake()

    def closed(self, code: int) -> None:  # noqa: ARG002  # the code makes no difference here
        """Close the session and its subscriptions, and leave its rooms. Closing again does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        self._access.watchers.discard(self)
        if self.on_end is not None:
            self.on_end()
        for delivery in tuple(self._rooms.values()):
            delivery.close()
        self._jobs.clear()
        if self._worker is not None:  # nobody needs its results
            self._worker.cancel()

    def fail(self, error: ChatkitError) -> None:
        """Send the error to the client, and close the connection."""
        self._refuse(error)
        self._socket.close(close_code_of(error), text_of(error))

    # Access

    def on_access_changed(self) -> None:
        """Use the current rights: end if the client may not be connected any more, leave rooms that it may not read."""
        if self.is_closed:
            return
        try:
            self.identity = self._access.renew(self.identity, self._context.hub.now_ms())
        except ChatkitError as error:
            self._end(error)
            return
        self._access.watchers.add(self)
        for room in tuple(self._rooms):
            if loss := self._loss_of(room):
                self._expel(room, loss)
            else:
                self._on_rights_changed(room)

    def _end(self, error: ChatkitError) -> None:
        self.fail(error)
        self.closed(close_code_of(error))  # at once: the client may be slow to close its side

    @abstractmethod
    def _expel(self, room: str, error: ChatkitError) -> None:
        """Leave a room that the client may not read any more."""

    @abstractmethod
    def _on_rights_changed(self, room: str) -> None:
        """Notify the client, which goes on reading the room, that its rights may have changed."""

    def _refusal(self, right: Right, room: str) -> ChatkitError | None:
        return self._access.refusal(self.identity, right, room, self._context.hub.now_ms())

    def _check(self, right: Right, room: str) -> None:
        self._access.check(self.identity, right, room, self._context.hub.now_ms())

    def _check_write(self, room: str) -> None:
        """Raise unless the client may publish to the room. That it may is remembered until any access changes."""
        if self._writable_generation != self._access.generation:
            self._writable_generation = self._access.generation
            self._writable = NO_ROOMS
        elif room in self._writable:
            return
        self._check(Right.WRITE, room)
        if is_system_room(room):
            raise Forbidden(f"only the server writes to {room!r}")
        self._writable = frozenset((room, *self._writable) if len(self._writable) < MAX_WRITABLE else (room,))

    async def _subscribe(self, room: str, start: StartPosition, delivery: Delivery) -> Subscription:
        context = self._context
        self._check(Right.READ, room)
        history = context.history if start.history is None else min(max(start.history, 0), context.limits.history)
        subscription = await context.hub.subscribe(
            room,
            after=start.after,
            history=history,
            member=self._sender,
            marks=(self.identity.is_verified, self.identity.is_bot),
            wake=delivery.wake,
            on_signal=self._on_signal,
        )
        if self.is_closed:  # the client disconnected while the room was opened
            subscription.close()
        elif error := self._refusal(Right.READ, room):  # it lost the right during the call
            subscription.close()
            raise error
        return subscription

    def _submit(self, draft: Draft, settle: SettleAll, n_bytes: int) -> None:
        if draft.room not in self._writable or self._writable_generation != self._access.generation:
            self._check_write(draft.room)
        if self._limiter is not None and (wait_s := self._limiter.consume(n_bytes)):
            raise RateLimited(wait_s)
        if draft.bot:
            self._context.hub.submit(draft, lambda outcome: settle((outcome,)))
        else:
            self._context.hub.submit_all((draft,), settle, n_bytes)
        self._n_outstanding += 1
        if self._n_outstanding >= MAX_OUTSTANDING:
            self._pause_reading()

    def _submit_all(self, drafts: list[Draft], settle: SettleAll, n_bytes: int) -> bool:
        """Submit drafts for one room together, as `_submit` does. If one may be refused, submit none, return False."""
        room = drafts[0].room
        try:
            if room not in self._writable or self._writable_generation != self._access.generation:
                self._check_write(room)
            if self._limiter is not None and not self._limiter.consume_all(len(drafts), n_bytes):
                return False
            self._context.hub.submit_all(drafts, settle, n_bytes)
        except ChatkitError:  # the messages are handled one by one, and those refused get their errors
            return False
        self._n_outstanding += len(drafts)
        if self._n_outstanding >= MAX_OUTSTANDING:
            self._pause_reading()
        return True

    def _count_settled(self, n_drafts: int) -> None:
        self._n_outstanding -= n_drafts
        if self._is_reading_paused:
            self._resume_reading()

    def _deliver_own(self, outcome: Outcome) -> None:
        """Wake a message's sender at once, not in its turn of the fan-out: its next message may depend on this one."""
        if isinstance(outcome, ChatkitError):
            return
        message = outcome.message
        delivery = self._rooms.get(message.room)
        if delivery and (reader := delivery.subscription) and reader.position < message.seq:
            delivery.wake()

    def _send_texts(self, payloads: list[bytes]) -> None:
        """Send texts in one write; see `_send_text`."""
        if len(payloads) == 1:
            self._send_text(payloads[0])
        elif payloads:
            socket = self._socket
            frames = b"".join([make_message(TEXT, payload, socket.deflate) for payload in payloads])
            socket.write(frames)
            self._count_sent(len(frames))

    def _send_text(self, payload: bytes) -> None:
        """Send a text, and pause reading from a client that does not read its answers when they are many."""
        self._socket.send_text(payload)
        self._count_sent(len(payload))

    def _count_sent(self, n_bytes: int) -> None:
        if not self._socket.is_writable:
            self._n_unread_bytes += n_bytes
            if self._n_unread_bytes > MAX_UNREAD_BYTES:
                self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._is_reading_paused:
            self._is_reading_paused = True
            self._socket.pause_reading()

    def _resume_reading(self) -> None:
        """Resume reading from the client if no reason to pause is left."""
        if (
            self._is_reading_paused
            and not self.is_closed
            and not self._is_over_allowance
            and self._n_outstanding <= MAX_OUTSTANDING // 2
            and len(self._jobs) < MAX_JOBS
            and self._n_unread_bytes <= MAX_UNREAD_BYTES
        ):
            self._is_reading_paused = False
            self._socket.resume_reading()

    def _charge(self, cost: float) -> None:
        """Count a command against the client's allowance, and pause reading from a client that exceeds it."""
        if self._limiter is None or self._is_over_allowance or not self._limiter.charge(cost):
            return
        try:
            self._context.hub.spawn(self._wait_for_allowance(self._limiter))
        except ChatkitError:  # the server is shutting down
            return
        self._context.refusals.n_pauses += 1
        self._is_over_allowance = True
        self._pause_reading()

    async def _wait_for_allowance(self, limiter: Limiter) -> None:
        await sleep_until_zero(lambda: 0.0 if self.is_closed else limiter.charge(0))
        self._is_over_allowance = False
        self._resume_reading()

    def _queue_job(self, job: Job, ref: protocol.Ref | None) -> None:
        """Queue a job that waits for the store. Jobs run one after another, in the order of the client's commands."""
        self._jobs.append((job, ref))
        if len(self._jobs) >= MAX_JOBS:
            self._pause_reading()
        self._start_jobs()

    def _start_jobs(self) -> None:
        if self._worker is not None or not self._jobs:
            return
        try:
            self._worker = self._context.hub.spawn(self._run_jobs())
        except ChatkitError as error:  # the server is shutting down
            while self._jobs:
                self._refuse(error, self._jobs.pop(0)[1])

    async def _run_jobs(self) -> None:
        try:
            while self._jobs and self._n_unread_bytes <= MAX_UNREAD_BYTES:
                job, ref = self._jobs.pop(0)
                self._resume_reading()
                try:
                    await job()
                except ChatkitError as error:
                    self._refuse(error, ref)
                await next_turn()  # many joins must not block the event loop
        finally:
            self._worker = None
