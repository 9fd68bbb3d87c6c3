"""The forms in which a room goes over a WebSocket, as whole frames that every reader of a form shares."""

import re
from functools import lru_cache

from chatkit.core.model import Gap, Message
from chatkit.core.roster import Change
from chatkit.core.segment import Encode
from chatkit.core.subscription import Subscription
from chatkit.websocket.frames import TEXT, make_message, text_frame
from chatkit.websocket.reader import payloads
from chatkit.wire import protocol

# Where a terminal begins a line, or begins it again. The server's own lines begin with "! "; those of a body do not.
_LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LIKE_SERVER = re.compile(r"(?:(?<=[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])|\A)!+ ")


def event_frame(message: Message) -> bytes:
    """Frame a message as an event of `chatkit.v1`."""
    return text_frame(protocol.message_event(message))


def body_frame(message: Message) -> bytes:
    """Frame a message's body. A line of it that looks like the server's own has one `!` more."""
    body = message.body
    return text_frame((_LIKE_SERVER.sub(r"!\g<0>", body) if "! " in body else body).encode())


def line_frame(message: Message) -> bytes:
    """Frame a message as `sender: body`. Further lines of the body are indented, so that none looks like a message."""
    body = message.body
    if not body.isprintable():
        body = _LINE_END.sub(r"\g<0>  ", body)
    line = f"{message.sender}: {body}"
    return text_frame((f"!{line}" if line.startswith("!") and _LIKE_SERVER.match(line) else line).encode())


def json_frame(message: Message) -> bytes:
    """Frame a message's JSON object."""
    return text_frame(protocol.message_json(message))


@lru_cache(maxsize=64)  # a feed knows a form by its function: all sockets that can read the same frames share one
def form_for(encode: Encode, window_bits: int | None) -> Encode:
    """Return the form as it goes to sockets that agreed to compression with that window; None is without."""
    if window_bits is None:
        return encode

    def compressed(message: Message) -> bytes:
        (payload,) = payloads(encode(message))
        return make_message(TEXT, payload, window_bits)

    return compressed


def gap_event_frame(subscription: Subscription, gap: Gap) -> bytes:
    """Frame a gap as an event of `chatkit.v1`."""
    return text_frame(protocol.gap_event(subscription.room, gap))


def gap_json_frame(_: Subscription, gap: Gap) -> bytes:
    """Frame a gap's JSON object."""
    return text_frame(protocol.encode(protocol.WireGap.of(gap)))


def gap_line_frame(_: Subscription, gap: Gap) -> bytes:
    """Frame a gap as a sentence, marked as one that is the server's own."""
    return text_frame(f"! {gap_sentence(gap)}".encode())


def gap_sentence(gap: Gap) -> str:
    """Say what is missing."""
    match gap.reason:
        case "trimmed":
            return f"messages {gap.after + 1} to {gap.before - 1} are no longer kept"
        case "epoch":
            return "the room's log began anew"
        case "no-history":
            return "this room keeps no history: what was said meanwhile is not to be had"


@lru_cache(maxsize=8)  # one change goes to every reader of its room: it is encoded for the first
def presence_frame(change: Change) -> bytes:
    """Frame who came and went; in a large room their number alone."""
    is_large = max(change.count, len(change.joined) + len(change.left)) > protocol.MAX_LISTED_MEMBERS
    joined, left = (None, None) if is_large else (change.joined, change.left)
    event = protocol.PresenceEvent(room=change.room, joined=joined, left=left, count=change.count)
    return text_frame(protocol.encode(event))


FORMS = {
    "text": (body_frame, gap_line_frame),
    "line": (line_frame, gap_line_frame),
    "json": (json_frame, gap_json_frame),
}
"""How the plain-text protocol frames messages and gaps, by the `format` that the client asks for."""
