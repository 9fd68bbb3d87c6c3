"""One client's conversation: commands in, frames out. Knows no socket, no clock and no event loop: they are arguments.

`JsonSession` speaks `chatkit.v1`, `TextSession` plain text. Both have a room's messages written by a `Delivery`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeAlias, assert_never

import msgspec

from chatkit.core.backend import Filter
from chatkit.core.hub import Hub
from chatkit.core.live import Redaction, Signal
from chatkit.core.live import Typing as TypingSignal
from chatkit.core.model import (
    Cursor,
    Draft,
    Gap,
    Limits,
    Receipt,
    check_body,
    check_data,
    check_key,
    check_room,
)
from chatkit.core.past import read_past
from chatkit.core.roster import Change
from chatkit.core.subscription import Subscription
from chatkit.errors import BadRequest, ChatkitError, RateLimited, TooManyRooms
from chatkit.wire import frames
from chatkit.wire.delivery import Delivery, Socket
from chatkit.wire.forms import FORMS, event_frame, form_for, presence_frame
from chatkit.wire.framing import text_frame

MAX_OUTSTANDING = 512  # messages of one client that are not committed yet: beyond it, its socket is read no further
MAX_JOBS = 64  # commands of one client that wait for the store, likewise
MAX_UNREAD_BYTES = 1 << 20  # answers that wait for a client to take them, likewise: ten thousand acknowledgements

CLOSE_CODES: Final = {
    "unauthorized": 4401,
    "forbidden": 4403,
    "not-found": 4404,
    "rate-limited": 4508,
    "unavailable": 4503,
}
"""The close code of an error that ends a connection, by the error's code; others are 1008."""


def close_code(error: ChatkitError) -> int:
    """Return the code with which an error closes a connection."""
    return CLOSE_CODES.get(error.code, 1008)


Job: TypeAlias = Callable[[], Awaitable[None]]


class Limiter(Protocol):
    """How much one sender may send."""

    def take(self, n_bytes: int) -> float:
        """Take one message of so many bytes; return 0, or in how many seconds to try again."""

    def may_signal(self) -> bool:
        """Say whether something that is not stored may go to the others now; what may not is simply dropped."""


class House(msgspec.Struct, frozen=True):
    """What all sessions of a server share. `history` is how many messages a join without a cursor begins with."""

    hub: Hub
    server: str
    limits: Limits
    wire_limits: frames.WireLimits
    history: int


class Start(msgspec.Struct, frozen=True):
    """Where a join begins: at a cursor, or so many messages before the end (None: the server's default)."""

    after: Cursor | None = None
    history: int | None = None


class Session(ABC):
    """What both protocols share: publishing with back-pressure, jobs in order, and an end that leaves nothing behind.

    It hears of the socket by `received_text`, `received_binary`, `writable_again` and `closed`.
    """

    __slots__ = (
        "_house", "_is_busy", "_is_held", "_jobs", "_limiter", "_n_outstanding", "_n_unread_bytes", "_sender",
        "_socket", "is_closed", "left",
    )  # fmt: skip

    def __init__(self, house: House, socket: Socket, sender: str, limiter: Limiter | None) -> None:
        self.is_closed = False
        self.left: Callable[[], None] | None = None  # called once, at the end
        self._house = house
        self._socket = socket
        self._sender = sender
        self._limiter = limiter
        self._n_outstanding = 0
        self._n_unread_bytes = 0  # of answers, since the socket was last writable
        # Few and rarely any: a deque would cost every session 600 bytes.
        self._jobs: list[tuple[Job, frames.Ref | None]] = []
        self._is_busy = False
        self._is_held = False  # the client is read no further

    @abstractmethod
    async def start(self, room: str | None, start: Start) -> None:
        """Greet the client and join the room that its path names. Raise a `ChatkitError` if that cannot be."""

    @abstractmethod
    def received_text(self, text: bytes) -> None:
        """Take one text of the client's, valid UTF-8."""

    @abstractmethod
    def _delivery_of(self, room: str) -> Delivery | None:
        """Return what writes a room here, if this session reads it."""

    @abstractmethod
    def _deliveries(self) -> list[Delivery]:
        """Return what this session reads."""

    @abstractmethod
    def _refuse(self, error: ChatkitError, ref: frames.Ref | None = None) -> None:
        """Tell the client that something it asked for cannot be."""

    @abstractmethod
    def _signalled(self, signal: Signal) -> None:
        """Hear what happens in a room beside its log."""

    def received_binary(self) -> None:
        """Refuse a binary message: every protocol here is text."""
        self._socket.close(1003, "text frames only")

    def writable_again(self) -> None:
        """Write what became due while the socket was full."""
        self._n_unread_bytes = 0
        self._let_go()
        self._work_off()
        for delivery in self._deliveries():
            delivery.ring()

    def closed(self, code: int) -> None:  # noqa: ARG002  # the socket's way of telling; every end is the same here
        """End: the client is present and reads no more. Ending again does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.left is not None:
            self.left()
        for delivery in self._deliveries():
            delivery.close()
        self._jobs.clear()

    def fail(self, error: ChatkitError) -> None:
        """Tell the client why this cannot go on, and close."""
        self._refuse(error)
        self._socket.close(close_code(error), str(error))

    async def _subscribe(self, room: str, start: Start, delivery: Delivery) -> Subscription:
        house = self._house
        history = house.history if start.history is None else min(max(start.history, 0), house.limits.history)
        subscription = await house.hub.subscribe(
            room,
            after=start.after,
            history=history,
            member=self._sender,
            bell=delivery.ring,
            signalled=self._signalled,
        )
        if self.is_closed:  # the client left while the room was being opened
            subscription.close()
        return subscription

    def _submit(self, draft: Draft, ref: frames.Ref | None, n_bytes: int) -> None:
        if self._limiter is not None and (wait_s := self._limiter.take(n_bytes)):
            raise RateLimited(wait_s)
        self._house.hub.submit(draft, self._settled if ref is None else partial(self._settled, ref=ref))
        self._n_outstanding += 1
        if self._n_outstanding >= MAX_OUTSTANDING:
            self._hold()

    def _settled(self, outcome: Receipt | ChatkitError, ref: frames.Ref | None = None) -> None:
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
            ack = frames.AckEvent(message.room, message.seq, str(message.cursor), outcome.repeat, ref, message.time)
            self._send_text(frames.encode(ack))
        # Who speaks need not wait for the round in which the others are told: its next message may wait for this one.
        if delivery := self._delivery_of(message.room):
            delivery.ring()

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
            and self._n_outstanding <= MAX_OUTSTANDING // 2
            and len(self._jobs) < MAX_JOBS
            and self._n_unread_bytes <= MAX_UNREAD_BYTES
        ):
            self._is_held = False
            self._socket.resume_reading()

    def _do(self, job: Job, ref: frames.Ref | None) -> None:
        """Run what has to wait for the store, one after the other, in the order in which the client asked."""
        self._jobs.append((job, ref))
        if len(self._jobs) >= MAX_JOBS:
            self._hold()
        self._work_off()

    def _work_off(self) -> None:
        if self._is_busy or not self._jobs:
            return
        try:
            self._house.hub.spawn(self._work())
        except ChatkitError as error:  # the server ends
            while self._jobs:
                self._refuse(error, self._jobs.pop(0)[1])
        else:
            self._is_busy = True

    async def _work(self) -> None:
        try:
            while self._jobs and self._n_unread_bytes <= MAX_UNREAD_BYTES:
                job, ref = self._jobs.pop(0)
                self._let_go()
                try:
                    await job()
                except ChatkitError as error:
                    self._refuse(error, ref)
        finally:
            self._is_busy = False


class TextSession(Session):
    """Plain text: a frame in is a body; each message comes back in the form that was asked for."""

    __slots__ = ("_delivery", "_room")

    def __init__(self, house: House, socket: Socket, sender: str, limiter: Limiter | None, form: str) -> None:
        super().__init__(house, socket, sender, limiter)
        if form not in FORMS:
            raise BadRequest(f"format is one of {', '.join(FORMS)}")
        encode, encode_gap = FORMS[form]
        self._delivery = Delivery(socket, form_for(encode, socket.deflate), encode_gap, house.hub.spawn)
        self._room = ""

    async def start(self, room: str | None, start: Start) -> None:
        """Join the room; what is due from its log is written at once."""
        self._room = check_room(room or "chat")
        delivery = self._delivery
        delivery.subscription = await self._subscribe(self._room, start, delivery)
        delivery.ring()

    def received_text(self, text: bytes) -> None:
        """Publish the text."""
        try:
            body = check_body(text.decode(), self._house.limits.body)
            self._submit(Draft(self._room, self._sender, body), None, len(text))
        except ChatkitError as error:
            self._refuse(error)

    def _signalled(self, signal: Signal) -> None:
        """Say nothing: plain text has no words for what is no message."""

    def _delivery_of(self, room: str) -> Delivery | None:  # noqa: ARG002  # there is but one
        return self._delivery

    def _deliveries(self) -> list[Delivery]:
        return [self._delivery]

    def _refuse(self, error: ChatkitError, ref: frames.Ref | None = None) -> None:  # noqa: ARG002  # text has no refs
        self._send_text(f"! {error}".encode())


class JsonSession(Session):
    """`chatkit.v1`: commands and events as JSON, any number of rooms."""

    __slots__ = ("_path_room", "_rooms", "_stale_rooms")

    def __init__(self, house: House, socket: Socket, sender: str, limiter: Limiter | None) -> None:
        super().__init__(house, socket, sender, limiter)
        self._rooms: dict[str, Delivery] = {}
        self._path_room: str | None = None
        self._stale_rooms: set[str] = set()  # whose presence was not sent, because the socket was full

    async def start(self, room: str | None, start: Start) -> None:
        """Say welcome, and join the room that the path names, if it names one."""
        house = self._house
        self._send(frames.WelcomeEvent(self._sender, house.server, house.wire_limits))
        if room is not None:
            self._path_room = check_room(room)
            await self._join(self._path_room, start, None)

    def received_text(self, text: bytes) -> None:
        """Carry out one command, or refuse it."""
        try:
            command = frames.decode_command(text)
        except ChatkitError as error:
            self._refuse(error, frames.ref_of(text))
            return
        try:
            self._carry_out(command, len(text))
        except ChatkitError as error:
            self._refuse(error, command.ref)

    def _carry_out(self, command: frames.AnyCommand, n_bytes: int) -> None:
        room = self._room_of(command)
        match command:
            case frames.Publish():
                self._publish(room, command, n_bytes)
            case frames.Join():
                start = Start(command.after if command.after is None else Cursor.parse(command.after), command.history)
                self._do(partial(self._join, room, start, command.ref), command.ref)
            case frames.Leave():
                self._do(partial(self._leave, room, command.ref), command.ref)
            case frames.History():
                self._do(partial(self._send_history, room, command), command.ref)
            case frames.Members():
                self._send_members(room, command.ref)
            case frames.Typing():
                if self._limiter is None or self._limiter.may_signal():
                    self._house.hub.typing(room, self._sender)
            case _:
                assert_never(command)

    def _room_of(self, command: frames.AnyCommand) -> str:
        if command.room is not None:
            return check_room(command.room)
        if self._path_room is None:
            raise BadRequest("name the room: this connection's path names none")
        return self._path_room

    def _publish(self, room: str, command: frames.Publish, n_bytes: int) -> None:
        limits = self._house.limits
        if command.body is None and command.data is None:
            raise BadRequest("publish needs a body")
        body = "" if command.body is None else check_body(command.body, limits.body)
        data = None if command.data is None else check_data(command.data, limits.data)
        key = None if command.key is None else check_key(command.key)
        self._submit(Draft(room, self._sender, body, data, key), command.ref, n_bytes)

    async def _join(self, room: str, start: Start, ref: frames.Ref | None) -> None:
        if room in self._rooms:
            self._rooms.pop(room).close()
        elif len(self._rooms) >= self._house.limits.rooms:
            raise TooManyRooms(self._house.limits.rooms)
        encode = form_for(event_frame, self._socket.deflate)
        delivery = Delivery(self._socket, encode, self._gap_frames, self._house.hub.spawn)
        subscription = await self._subscribe(room, start, delivery)
        delivery.subscription = subscription
        self._rooms[room] = delivery
        gap = subscription.take_gap()
        self._send(self._joined(subscription, subscription.cursor, ref))
        if gap is not None:
            self._send_text(frames.gap_event(room, gap))
        delivery.ring()

    def _joined(self, subscription: Subscription, start: Cursor, ref: frames.Ref | None) -> frames.JoinedEvent:
        room, head = subscription.room, subscription.head
        members, count = self._members(room)
        return frames.JoinedEvent(room, str(start), start.seq, head.first, head.last, members, count, ref)

    def _gap_frames(self, subscription: Subscription, gap: Gap) -> bytes:
        frame = text_frame(frames.gap_event(subscription.room, gap))
        if gap.reason != "epoch":
            return frame
        # What follows is of a new life of the log: the client needs its name to resume in it.
        joined = self._joined(subscription, Cursor(subscription.epoch, gap.before - 1), None)
        return text_frame(frames.encode(joined)) + frame

    async def _leave(self, room: str, ref: frames.Ref | None) -> None:
        if delivery := self._rooms.pop(room, None):
            delivery.close()
        self._send(frames.LeftEvent(room, ref))

    async def _send_history(self, room: str, command: frames.History) -> None:
        limit = min(self._house.limits.history, 50 if command.limit is None else command.limit)
        if limit < 1:
            raise BadRequest("limit is at least 1")
        past = await read_past(
            self._house.hub.backend,
            room,
            after=frames.position(command.after),
            before=frames.position(command.before),
            limit=limit,
            where=Filter(search=command.search) if command.search else None,
        )
        messages = [frames.WireMessage.of(message) for message in past.page.messages]
        self._send(frames.HistoryEvent(room, messages, past.page.complete, command.ref))

    def _send_members(self, room: str, ref: frames.Ref | None) -> None:
        members, count = self._members(room)
        self._send(frames.MembersEvent(room, members, count, ref))

    def _members(self, room: str) -> tuple[list[frames.WireMember], int]:
        hub = self._house.hub
        return frames.wire_members(hub.members(room, frames.MAX_LISTED_MEMBERS)), hub.count(room)

    def _signalled(self, signal: Signal) -> None:
        match signal:
            case Redaction(room, seq):
                self._send(frames.RedactedEvent(room, seq))
            case TypingSignal(room, sender):
                if self._socket.is_writable and sender != self._sender:
                    self._send(frames.TypingEvent(room, sender))
            case Change(room, joined, left):
                if joined == [self._sender] and not left:
                    return  # nobody is told of their own coming
                if self._socket.is_writable:
                    self._socket.write(presence_frame(signal))
                else:
                    self._stale_rooms.add(room)
            case _:
                assert_never(signal)

    def writable_again(self) -> None:
        """Write what became due while the socket was full; who is there now stands for who came and went meanwhile."""
        while self._stale_rooms:
            room = self._stale_rooms.pop()
            if room in self._rooms:
                self._send_members(room, None)
        super().writable_again()

    def _send(self, event: frames.Event) -> None:
        self._send_text(frames.encode(event))

    def _delivery_of(self, room: str) -> Delivery | None:
        return self._rooms.get(room)

    def _deliveries(self) -> list[Delivery]:
        return list(self._rooms.values())

    def _refuse(self, error: ChatkitError, ref: frames.Ref | None = None) -> None:
        self._send(frames.error_event(error, ref))
