"""A conversation in plain text: a frame in is a body; a message comes back in a form of the client's choice."""

from chatkit.core.model import (
    Draft,
    check_body,
    check_room,
)
from chatkit.core.room import Redaction, Typing
from chatkit.core.roster import Change
from chatkit.errors import BadRequest, ChatkitError
from chatkit.session.delivery import Delivery
from chatkit.session.formats import FORMS, form_for
from chatkit.session.session import Limiter, Session, SessionContext, StartPosition
from chatkit.websocket.direct import DirectSocket
from chatkit.wire import protocol


class TextSession(Session):
    """Plain text: a frame in is a body; each message comes back in the form that was asked for."""

    __slots__ = ("_form", "_room")

    def __init__(
        self,
        house: SessionContext,
        socket: DirectSocket,
        sender: str,
        limiter: Limiter | None,
        form: str,
        *,
        address: str = "",
    ) -> None:
        super().__init__(house, socket, sender, limiter, address=address)
        if form not in FORMS:
            raise BadRequest(f"format is one of {', '.join(FORMS)}")
        self._form = form
        self._room = ""

    async def start(self, room: str | None, start: StartPosition) -> None:
        """Join the room; what is due from its log is written at once."""
        self._room = check_room(room or "chat")
        encode, encode_gap = FORMS[self._form]
        delivery = Delivery(self._socket, form_for(encode, self._socket.deflate), encode_gap, self._house.hub.spawn)
        delivery.start(await self._subscribe(self._room, start, delivery))
        self._rooms[self._room] = delivery
        delivery.wake()

    def received_text(self, text: bytes) -> None:
        """Publish the text."""
        try:
            body = check_body(text.decode(), self._house.limits.body)
            self._submit(Draft(self._room, self._sender, body), self._settled, len(text))
        except ChatkitError as error:
            self._refuse(error)

    def _restored(self) -> None:
        """Say it as errors are said: there is no other way that is no message."""
        self._send_text(b"! the store is back")

    def _on_room_signal(self, signal: Change | Redaction | Typing) -> None:
        """Say nothing: plain text has no words for what is no message."""

    def _refuse(self, error: ChatkitError, ref: protocol.Ref | None = None) -> None:  # noqa: ARG002  # text has no refs
        self._send_text(f"! {error}".encode())
