"""TextSession: a session in plain text. A frame from the client is a body; messages go out in a chosen format."""

from collections.abc import Sequence

from chatkit.core.access import Identity
from chatkit.core.group_commit import Outcome
from chatkit.core.model import Draft, check_readable_room
from chatkit.core.signals import RoomSignal
from chatkit.errors import BadRequest, ChatkitError, TooLarge
from chatkit.session.context import SessionContext, StartPosition
from chatkit.session.delivery import Delivery
from chatkit.session.formats import FORMATS, format_for
from chatkit.session.limiter import Limiter
from chatkit.session.session import Session
from chatkit.websocket.direct import DirectSocket
from chatkit.wire import protocol
from chatkit.wire.codes import text_of
from chatkit.wire.costs import refused_cost


class TextSession(Session):
    """A session in plain text: a frame from the client is a body, and each message is sent in the given format."""

    __slots__ = ("_format", "_room")

    def __init__(
        self,
        context: SessionContext,
        socket: DirectSocket,
        identity: Identity,
        limiter: Limiter | None,
        message_format: str,
    ) -> None:
        super().__init__(context, socket, identity, limiter)
        if message_format not in FORMATS:
            raise BadRequest(f"format is one of {', '.join(FORMATS)}")
        self._format = message_format
        self._room = ""

    async def _start(self, room: str | None, start: StartPosition) -> None:
        """Join the room, and write the messages that are due at once."""
        self._room = check_readable_room(room or "chat")
        encode, encode_gap = FORMATS[self._format]
        delivery = Delivery(self._socket, format_for(encode, self._socket.deflate), encode_gap, self._context.hub.spawn)
        delivery.start(await self._subscribe(self._room, start, delivery))
        self._rooms[self._room] = delivery
        delivery.wake()

    def _publish_all(self, texts: list[bytes]) -> bool:
        identity, room, sender = self.identity, self._room, self._sender
        if identity.is_bot or max(map(len, texts)) > self._context.limits.body:
            return False
        is_verified = identity.is_verified
        drafts = [Draft(room, sender, text.decode(), None, None, is_verified) for text in texts]
        return self._submit_all(drafts, self._on_settled, sum(map(len, texts)))

    def received_text(self, text: bytes) -> None:
        try:
            if len(text) > self._context.limits.body:
                raise TooLarge("body", self._context.limits.body)
            identity = self.identity
            draft = Draft(self._room, self._sender, text.decode(), None, None, identity.is_verified, identity.is_bot)
            self._submit(draft, self._on_settled, len(text))
        except ChatkitError as error:
            self._charge(refused_cost(len(text)))
            self._refuse(error)

    def _on_settled(self, outcomes: Sequence[Outcome]) -> None:
        self._count_settled(len(outcomes))
        if self.is_closed:
            return
        for outcome in outcomes:
            if isinstance(outcome, ChatkitError):
                self._refuse(outcome)
        self._deliver_own(outcomes[-1])

    def _expel(self, room: str, error: ChatkitError) -> None:  # noqa: ARG002 - it is the only one
        self._end(error)

    def _on_rights_changed(self, room: str) -> None:
        """Do nothing: a message that the client may not publish is refused with a sentence."""

    def _send_restored(self) -> None:
        # Like an error: every other line is a message.
        self._send_text(b"! the store is available again")

    def _on_room_signal(self, signal: RoomSignal) -> None:
        """Ignore the signal: the plain-text protocol has no form for it."""

    def _send_error(self, error: ChatkitError, ref: protocol.Ref | None = None) -> None:  # noqa: ARG002  # plain text has no refs
        self._send_text(f"! {text_of(error)}".encode())
