"""JsonSession: a session in `chatkit.v1`, with commands and events as JSON and any number of rooms."""

from collections.abc import Sequence
from functools import partial
from typing import assert_never, cast

import msgspec

from chatkit.core.access import Identity, Right
from chatkit.core.group_commit import Outcome
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Draft, check_readable_room, check_room
from chatkit.core.moderation import redaction_right
from chatkit.core.read_state import reader_of
from chatkit.core.signals import MembersChanged, Redaction, RoomChanged, RoomSignal, Typing
from chatkit.core.subscription import Subscription
from chatkit.errors import BadRequest, ChatkitError, RateLimited, RoomRenamed, TooManyRooms, Unavailable
from chatkit.session.context import SessionContext, StartPosition
from chatkit.session.delivery import Delivery
from chatkit.session.drafting import draft_of, filter_of
from chatkit.session.formats import event_frame, format_for, gap_event_frame, presence_frame
from chatkit.session.limiter import Limiter
from chatkit.session.sending_order import SendingOrder
from chatkit.session.session import Session
from chatkit.websocket.direct import DirectSocket
from chatkit.websocket.frames import text_frame
from chatkit.wire import protocol
from chatkit.wire.codes import text_of
from chatkit.wire.costs import (
    JOIN_COST,
    LEAVE_COST,
    MARK_COST,
    MEMBERS_COST,
    PAGE_COST,
    PING_COST,
    SEARCH_COST,
    TYPING_COST,
    UNREAD_COST,
    refused_cost,
)
from chatkit.wire.page import encode_page

PAGE_MESSAGES = 50  # of history, when no limit is given: about what fits on a screen


class JsonSession(Session):
    """A session in `chatkit.v1`: commands and events as JSON, any number of rooms."""

    __slots__ = ("_order", "_own_mark", "_path_room", "_rights", "_stale_rooms", "_watched_name")

    def __init__(
        self, context: SessionContext, socket: DirectSocket, identity: Identity, limiter: Limiter | None
    ) -> None:
        super().__init__(context, socket, identity, limiter)
        self._path_room: str | None = None
        self._own_mark: tuple[str, int] | None = None  # the marker that this connection moved last
        self._watched_name: str | None = None  # the name whose markers are reported, after it asked for what is unread
        self._order: SendingOrder | None = None  # of a client that sends `behind` with its messages
        self._rights: dict[str, list[str] | None] = {}  # as the client knows them, by joined room
        self._stale_rooms: set[str] = set()  # rooms whose changes of members were not sent, because the socket was full

    def starts_at_once(self, room: str | None, start: StartPosition) -> bool:
        return room is None or super().starts_at_once(room, start)

    async def _start(self, room: str | None, start: StartPosition) -> None:
        """Send the welcome, and join the room that the path names, if it names one."""
        context, identity = self._context, self.identity
        self._send(
            protocol.WelcomeEvent(
                self._sender, context.server, context.wire_limits, identity.is_verified, identity.is_bot
            )
        )
        if room is not None:
            self._path_room = check_readable_room(room)
            await self._join(self._path_room, start, None)

    def _publish_all(self, texts: list[bytes]) -> bool:
        if self.identity.is_bot:
            return False
        commands: list[protocol.PublishCommand] = []
        drafts: list[Draft] = []
        try:
            for text in texts:
                command = protocol.decode_command(text)
                if not isinstance(command, protocol.PublishCommand) or command.act is Act.REDACT:
                    return False
                if command.behind is not None and self._order:  # some messages were refused: this one may have to wait
                    return False
                commands.append(command)
                drafts.append(self._draft_of(command))
        except ChatkitError:
            return False
        if len(drafts) > 1 and len({draft.room for draft in drafts}) > 1:
            return False
        return self._submit_all(drafts, partial(self._on_published, commands), sum(map(len, texts)))

    def received_text(self, text: bytes) -> None:
        """Execute one command, or send its error."""
        try:
            command = protocol.decode_command(text)
        except ChatkitError as error:
            self._charge(refused_cost(len(text)))
            self._refuse(error, protocol.ref_of(text))
            return
        try:
            self._execute(command, len(text))
        except ChatkitError as error:
            self._charge(refused_cost(len(text)))
            self._refuse(error, command.ref)

    def _execute(self, command: protocol.AnyCommand, n_bytes: int) -> None:  # noqa: C901 - a table of cases
        if isinstance(command, protocol.PublishCommand):  # most commands, so it is asked first
            self._publish(command, n_bytes)
            return
        if isinstance(command, protocol.PingCommand):  # it concerns the connection, not a room
            self._charge(PING_COST)
            self._send(protocol.PongEvent(command.ref))
            return
        if isinstance(command, protocol.UnreadCommand):
            self._queue_job(partial(self._send_unread, command.ref), command.ref)
            self._charge(UNREAD_COST)
            return
        room = self._room_of(command)
        match command:
            case protocol.JoinCommand():
                start = StartPosition(
                    command.after if command.after is None else Cursor.parse(command.after), command.history
                )
                self._queue_job(partial(self._join_when_free, room, start, command.ref), command.ref)
                self._charge(JOIN_COST)
            case protocol.LeaveCommand():
                self._queue_job(partial(self._leave, room, command.ref), command.ref)
                self._charge(LEAVE_COST)
            case protocol.HistoryCommand():
                self._queue_job(partial(self._send_history, room, command), command.ref)
                self._charge(SEARCH_COST if command.search else PAGE_COST)
            case protocol.MembersCommand():
                self._charge(MEMBERS_COST)
                self._check(Right.READ, room)
                self._send_members(room, command.ref)
            case protocol.MarkCommand():
                self._queue_job(partial(self._mark, room, command.seq, command.ref), command.ref)
                self._charge(MARK_COST)
            case protocol.TypingCommand():
                self._charge(TYPING_COST)
                self._check_write(room)
                if self._limiter is None or self._limiter.may_signal():
                    self._context.hub.typing(room, self._sender)
            case _:
                assert_never(command)

    def _room_of(self, command: protocol.AnyCommand) -> str:
        if command.room is not None:
            return check_readable_room(command.room)
        if self._path_room is None:
            raise BadRequest("name the room: the path of this connection names none")
        return self._path_room

    def _publish(self, command: protocol.PublishCommand, n_bytes: int) -> None:
        if command.act is Act.REDACT:
            room = check_room(self._room_of(command))
            self._queue_job(partial(self._redact, room, command), command.ref)
            self._charge(PAGE_COST)
            return
        draft = self._draft_of(command)
        if command.behind is None or command.ref is None:
            self._submit(draft, partial(self._on_published, (command,)), n_bytes)
        else:
            self._submit_behind(command.behind, draft, command, n_bytes)

    def _draft_of(self, command: protocol.PublishCommand) -> Draft:
        name = self._path_room if command.room is None else command.room
        room = check_room(self._room_of(command) if name is None else name)
        return draft_of(command, room, self._sender, self.identity, self._context.limits)

    def _submit_behind(
        self, behind: protocol.Ref, draft: Draft, command: protocol.PublishCommand, n_bytes: int
    ) -> None:
        """Publish, unless the message that this one was sent after was refused: this one must not overtake it."""
        if self._order is None:
            self._order = SendingOrder()
        order, ref = self._order, command.ref or 0
        try:
            order.check(behind)
            self._submit(draft, partial(self._on_published, (command,)), n_bytes)
        except (RateLimited, Unavailable) as error:
            order.refused(ref, error)
            raise
        except ChatkitError:
            order.forget(ref)  # it will not be sent again: those behind it need not wait
            raise
        order.forget(ref)

    def _on_published(self, commands: Sequence[protocol.PublishCommand], outcomes: Sequence[Outcome]) -> None:
        """Send the acknowledgements of messages in one write, and the errors of those that were not committed."""
        self._count_settled(len(outcomes))
        if self.is_closed:
            return
        acks: list[bytes] = []
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, ChatkitError):
                self._send_texts(acks)
                acks = []
                self._on_not_committed(command, outcome)
            elif command.ref is not None:
                acks.append(protocol.ack_event(outcome, command.ref))
        self._send_texts(acks)
        self._deliver_own(outcomes[-1])

    def _on_not_committed(self, command: protocol.PublishCommand, error: ChatkitError) -> None:
        if command.behind is not None and command.ref is not None and isinstance(error, RateLimited | Unavailable):
            if self._order is None:
                self._order = SendingOrder()
            self._order.refused(command.ref, error)
        self._refuse(error, command.ref)

    async def _redact(self, room: str, command: protocol.PublishCommand) -> None:
        """Redact a message, and acknowledge it with the number of the message that is redacted."""
        hub = self._context.hub
        self._check(Right.READ, room)
        message = await hub.find(room, command.of or 0)
        self._check(redaction_right(self.identity, message), room)
        await hub.moderation.redact(self.identity, message, is_audited=not self._access.is_open)
        if command.ref is not None:
            self._send(
                protocol.AckEvent(room, message.seq, str(message.cursor), message.redacted, command.ref, message.time)
            )

    async def _join_when_free(self, room: str, start: StartPosition, ref: protocol.Ref | None) -> None:
        async with self._context.join_slots:
            await self._join(room, start, ref)

    async def _join(self, room: str, start: StartPosition, ref: protocol.Ref | None) -> None:
        self._check(Right.READ, room)
        if room in self._rooms:
            self._close_room(room)
        elif len(self._rooms) >= self._context.limits.rooms:
            raise TooManyRooms(self._context.limits.rooms)
        encode = format_for(event_frame, self._socket.deflate)
        delivery = Delivery(self._socket, encode, gap_event_frame, self._context.hub.spawn, self._new_epoch_frame)
        subscription = await self._subscribe(room, start, delivery)
        delivery.start(subscription)
        self._rooms[room] = delivery
        self._send(self._joined_event(subscription, Cursor(subscription.epoch, subscription.position), ref))
        delivery.wake()

    def _joined_event(
        self, subscription: Subscription, start: Cursor, ref: protocol.Ref | None
    ) -> protocol.JoinedEvent:
        room, head = subscription.room, subscription.head
        members, count = self._members(room)
        rights = self._rights[room] = self._rights_in(room)
        settings = self._access.room_settings(room)
        return protocol.JoinedEvent(
            room,
            str(start),
            start.seq,
            head.first,
            head.last,
            members,
            count,
            ref,
            rights,
            settings.topic,
            settings.archived,
        )

    def _rights_in(self, room: str) -> list[str] | None:
        if self._access.is_open:
            return None
        return [right.value for right in Right if self._refusal(right, room) is None]

    def _new_epoch_frame(self, subscription: Subscription, start: int) -> bytes:
        """Return the frame of a second `joined`: the log started again, and the client needs its epoch to resume."""
        return text_frame(protocol.encode(self._joined_event(subscription, Cursor(subscription.epoch, start), None)))

    async def _leave(self, room: str, ref: protocol.Ref | None) -> None:
        self._close_room(room)
        self._send(protocol.LeftEvent(room, ref))

    def _close_room(self, room: str) -> None:
        self._rights.pop(room, None)
        if delivery := self._rooms.pop(room, None):
            delivery.close()

    def _expel(self, room: str, error: ChatkitError) -> None:
        self._close_room(room)
        renamed_to = error.renamed_to if isinstance(error, RoomRenamed) else None
        self._send(protocol.LeftEvent(room, reason=error.code, message=text_of(error), renamed_to=renamed_to))

    def _on_rights_changed(self, room: str) -> None:
        rights = self._rights_in(room)
        if room in self._rights and rights != self._rights[room]:
            self._rights[room] = rights
            self._send_room(room)

    def _send_room(self, room: str) -> None:
        settings = self._access.room_settings(room)
        self._send(protocol.RoomEvent(room, settings.topic, settings.archived, self._rights.get(room)))

    async def _send_history(self, room: str, command: protocol.HistoryCommand) -> None:
        limit = min(self._context.limits.history, PAGE_MESSAGES if command.limit is None else command.limit)
        if limit < 1:
            raise BadRequest("limit is at least 1")
        self._check(Right.READ, room)
        page = await self._context.history_queue.read(
            (self.identity.address, self),
            self._context.hub,
            room,
            after=protocol.position(command.after),
            before=protocol.position(command.before),
            limit=limit,
            where=filter_of(command),
            folded=not command.raw,
        )
        encoded = await encode_page(page, is_forward=command.after is not None)
        self._check(Right.READ, room)  # again: a search takes seconds
        messages = cast("list[protocol.WireMessage]", encoded.messages)  # encoded as `Raw`
        gap = None if page.gap is None else protocol.WireGap.of(page.gap)
        self._send(
            protocol.HistoryEvent(room, messages, encoded.complete, command.ref, gap, page.head.last, encoded.reached)
        )

    def _reader(self) -> str:
        return reader_of(self.identity, is_open=self._access.is_open)

    async def _mark(self, room: str, seq: int, ref: protocol.Ref | None) -> None:
        self._check(Right.READ, room)
        self._own_mark = room, seq
        marker = await self._context.hub.read_state.mark(self._reader(), room, seq)
        if ref is not None:
            self._send(protocol.MarkedEvent(room, marker, ref))

    async def _send_unread(self, ref: protocol.Ref | None) -> None:
        name, read_state = self._reader(), self._context.hub.read_state
        if self._watched_name is None and not self.is_closed:
            self._watched_name = name
            read_state.watch(name, self._on_marked)
        found = await read_state.unread(name, lambda room: self._refusal(Right.READ, room) is None)
        self._send(protocol.UnreadEvent([protocol.WireUnread.of(each) for each in found], ref))

    def _on_marked(self, room: str, seq: int) -> None:
        """Report a marker that another connection of this client's name has moved."""
        is_own = (room, seq) == self._own_mark
        if not is_own and self._socket.is_writable and self._refusal(Right.READ, room) is None:
            self._send(protocol.MarkedEvent(room, seq))

    def closed(self, code: int) -> None:
        if self._watched_name is not None:
            self._context.hub.read_state.unwatch(self._watched_name, self._on_marked)
            self._watched_name = None
        super().closed(code)

    def _send_members(self, room: str, ref: protocol.Ref | None) -> None:
        self._send(protocol.MembersEvent(room, *self._members(room), ref))

    def _members(self, room: str) -> tuple[list[protocol.WireMember], int]:
        hub = self._context.hub
        encoded = msgspec.Raw(hub.encoded_members(room, protocol.MAX_LISTED_MEMBERS, protocol.encode_members))
        return cast("list[protocol.WireMember]", encoded), hub.count(room)

    def _send_restored(self) -> None:
        self._send(protocol.RestoredEvent())

    def _on_room_signal(self, signal: RoomSignal) -> None:
        match signal:
            case Redaction(room, seq):
                self._send(protocol.RedactedEvent(room, seq))
            case Typing(room, sender):
                if self._socket.is_writable and sender != self._sender:
                    self._send(protocol.TypingEvent(room, sender))
            case RoomChanged(room):
                settings = self._access.room_settings(room)
                is_renamed = settings.renamed_to is not None and not settings.is_moving  # `left` follows
                if room in self._rights and not is_renamed:  # otherwise, `joined` is about to have the new settings
                    self._rights[room] = self._rights_in(room)
                    self._send_room(room)
            case MembersChanged(room, joined, left):
                if joined == [self._sender] and not left:
                    return  # the client knows that it joined
                if self._socket.is_writable:
                    self._socket.write(presence_frame(signal))
                else:
                    self._stale_rooms.add(room)
            case _:
                assert_never(signal)

    def writable_again(self) -> None:
        """Write what became due while the socket was full. For changes of members, the current members are sent."""
        while self._stale_rooms:
            room = self._stale_rooms.pop()
            if room in self._rooms:
                self._send_members(room, None)
        super().writable_again()

    def _send(self, event: protocol.ServerEvent) -> None:
        self._send_text(protocol.encode(event))

    def _send_error(self, error: ChatkitError, ref: protocol.Ref | None = None) -> None:
        self._send(protocol.error_event(error, ref))
