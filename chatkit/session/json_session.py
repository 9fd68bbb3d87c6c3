"""A conversation in `chatkit.v1`: commands and events as JSON, and any number of rooms."""

from functools import partial
from typing import assert_never, cast

from chatkit.core.backend import Filter
from chatkit.core.model import (
    Cursor,
    Draft,
    Receipt,
    check_body,
    check_data,
    check_key,
    check_room,
)
from chatkit.core.room import Redaction
from chatkit.core.room import Typing as TypingSignal
from chatkit.core.roster import Change
from chatkit.core.subscription import Subscription
from chatkit.core.text import check_search
from chatkit.errors import BadRequest, ChatkitError, RateLimited, TooManyRooms, Unavailable
from chatkit.session.delivery import Delivery
from chatkit.session.formats import event_frame, form_for, gap_event_frame, presence_frame
from chatkit.session.sending_order import SendingOrder
from chatkit.session.session import Limiter, Session, SessionContext, StartPosition
from chatkit.websocket.direct import DirectSocket
from chatkit.websocket.frames import text_frame
from chatkit.wire import protocol
from chatkit.wire.costs import (
    JOIN_COST,
    LEAVE_COST,
    MEMBERS_COST,
    PAGE_COST,
    REFUSED_COST,
    SEARCH_COST,
    TYPING_COST,
)
from chatkit.wire.page import encode_page


class JsonSession(Session):
    """`chatkit.v1`: commands and events as JSON, any number of rooms."""

    __slots__ = ("_order", "_path_room", "_stale_rooms")

    def __init__(
        self, house: SessionContext, socket: DirectSocket, sender: str, limiter: Limiter | None, *, address: str = ""
    ) -> None:
        super().__init__(house, socket, sender, limiter, address=address)
        self._path_room: str | None = None
        self._order: SendingOrder | None = None  # of a client that says what each message was sent behind
        self._stale_rooms: set[str] = set()  # whose presence was not sent, because the socket was full

    async def start(self, room: str | None, start: StartPosition) -> None:
        """Say welcome, and join the room that the path names, if it names one."""
        house = self._house
        self._send(protocol.WelcomeEvent(self._sender, house.server, house.wire_limits))
        if room is not None:
            self._path_room = check_room(room)
            await self._join(self._path_room, start, None)

    def received_text(self, text: bytes) -> None:
        """Carry out one command, or refuse it."""
        try:
            command = protocol.decode_command(text)
        except ChatkitError as error:
            self._charge(REFUSED_COST)
            self._refuse(error, protocol.ref_of(text))
            return
        try:
            self._carry_out(command, len(text))
        except ChatkitError as error:
            self._charge(REFUSED_COST)
            self._refuse(error, command.ref)

    def _carry_out(self, command: protocol.AnyCommand, n_bytes: int) -> None:
        if isinstance(command, protocol.PingCommand):  # of the connection, not of a room
            self._send(protocol.PongEvent(command.ref))
            return
        room = self._room_of(command)
        match command:
            case protocol.PublishCommand():
                self._publish(room, command, n_bytes)
            case protocol.JoinCommand():
                start = StartPosition(
                    command.after if command.after is None else Cursor.parse(command.after), command.history
                )
                self._do(partial(self._join_in_turn, room, start, command.ref), command.ref)
                self._charge(JOIN_COST)
            case protocol.LeaveCommand():
                self._do(partial(self._leave, room, command.ref), command.ref)
                self._charge(LEAVE_COST)
            case protocol.HistoryCommand():
                self._do(partial(self._send_history, room, command), command.ref)
                self._charge(SEARCH_COST if command.search else PAGE_COST)
            case protocol.MembersCommand():
                self._send_members(room, command.ref)
                self._charge(MEMBERS_COST)
            case protocol.TypingCommand():
                self._charge(TYPING_COST)
                if self._limiter is None or self._limiter.may_signal():
                    self._house.hub.typing(room, self._sender)
            case _:
                assert_never(command)

    def _room_of(self, command: protocol.AnyCommand) -> str:
        if command.room is not None:
            return check_room(command.room)
        if self._path_room is None:
            raise BadRequest("name the room: this connection's path names none")
        return self._path_room

    def _publish(self, room: str, command: protocol.PublishCommand, n_bytes: int) -> None:
        limits = self._house.limits
        if command.body is None and command.data is None:
            raise BadRequest("publish needs a body")
        body = "" if command.body is None else check_body(command.body, limits.body)
        data = None if command.data is None else check_data(command.data, limits.data)
        key = None if command.key is None else check_key(command.key)
        draft = Draft(room, self._sender, body, data, key)
        if command.ref is None:
            self._submit(draft, self._settled, n_bytes)
        elif command.behind is None:
            self._submit(draft, partial(self._settled, ref=command.ref), n_bytes)
        else:
            self._submit_behind(command.behind, draft, command.ref, n_bytes)

    def _submit_behind(self, behind: protocol.Ref, draft: Draft, ref: protocol.Ref, n_bytes: int) -> None:
        """Publish unless what this message was sent behind was refused for now: then it must not go before that."""
        if self._order is None:
            self._order = SendingOrder()
        order = self._order
        try:
            order.check(behind)
            self._submit(draft, partial(self._settled_in_order, ref), n_bytes)
        except (RateLimited, Unavailable) as error:
            order.refused(ref, error)
            raise
        order.taken(ref)

    def _settled_in_order(self, ref: protocol.Ref, outcome: Receipt | ChatkitError) -> None:
        if self._order is not None and isinstance(outcome, RateLimited | Unavailable):
            self._order.refused(ref, outcome)
        self._settled(outcome, ref)

    async def _join_in_turn(self, room: str, start: StartPosition, ref: protocol.Ref | None) -> None:
        async with self._house.turns:
            await self._join(room, start, ref)

    async def _join(self, room: str, start: StartPosition, ref: protocol.Ref | None) -> None:
        if room in self._rooms:
            self._rooms.pop(room).close()
        elif len(self._rooms) >= self._house.limits.rooms:
            raise TooManyRooms(self._house.limits.rooms)
        encode = form_for(event_frame, self._socket.deflate)
        delivery = Delivery(self._socket, encode, gap_event_frame, self._house.hub.spawn, self._new_epoch_frame)
        subscription = await self._subscribe(room, start, delivery)
        delivery.start(subscription)
        self._rooms[room] = delivery
        self._send(self._joined(subscription, Cursor(subscription.epoch, subscription.position), ref))
        delivery.wake()

    def _joined(self, subscription: Subscription, start: Cursor, ref: protocol.Ref | None) -> protocol.JoinedEvent:
        room, head = subscription.room, subscription.head
        members, count = self._members(room)
        return protocol.JoinedEvent(room, str(start), start.seq, head.first, head.last, members, count, ref)

    def _new_epoch_frame(self, subscription: Subscription, start: int) -> bytes:
        """Frame a second `joined`: the log began again, and the client needs the new epoch to resume in it."""
        return text_frame(protocol.encode(self._joined(subscription, Cursor(subscription.epoch, start), None)))

    async def _leave(self, room: str, ref: protocol.Ref | None) -> None:
        if delivery := self._rooms.pop(room, None):
            delivery.close()
        self._send(protocol.LeftEvent(room, ref))

    async def _send_history(self, room: str, command: protocol.HistoryCommand) -> None:
        limit = min(self._house.limits.history, 50 if command.limit is None else command.limit)
        if limit < 1:
            raise BadRequest("limit is at least 1")
        past = await self._house.reads.read(
            (self._address, self),
            self._house.hub,
            room,
            after=protocol.position(command.after),
            before=protocol.position(command.before),
            limit=limit,
            where=Filter(search=check_search(command.search)) if command.search else None,
        )
        page = await encode_page(past, is_forward=command.after is not None)
        messages = cast("list[protocol.WireMessage]", page.messages)  # which are encoded already
        gap = None if past.gap is None else protocol.WireGap.of(past.gap)
        self._send(protocol.HistoryEvent(room, messages, page.complete, command.ref, gap))

    def _send_members(self, room: str, ref: protocol.Ref | None) -> None:
        members, count = self._members(room)
        self._send(protocol.MembersEvent(room, members, count, ref))

    def _members(self, room: str) -> tuple[list[protocol.WireMember], int]:
        hub = self._house.hub
        return protocol.wire_members(hub.members(room, protocol.MAX_LISTED_MEMBERS)), hub.count(room)

    def _restored(self) -> None:
        self._send(protocol.RestoredEvent())

    def _on_room_signal(self, signal: Change | Redaction | TypingSignal) -> None:
        match signal:
            case Redaction(room, seq):
                self._send(protocol.RedactedEvent(room, seq))
            case TypingSignal(room, sender):
                if self._socket.is_writable and sender != self._sender:
                    self._send(protocol.TypingEvent(room, sender))
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

    def _send(self, event: protocol.ServerEvent) -> None:
        self._send_text(protocol.encode(event))

    def _refuse(self, error: ChatkitError, ref: protocol.Ref | None = None) -> None:
        self._send(protocol.error_event(error, ref))
