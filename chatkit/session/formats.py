"""The formats in which messages go over a WebSocket, as whole frames that all readers of a format share."""

import re
from functools import lru_cache

from msgspec.structs import replace

from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.segment import Encode
from chatkit.core.signals import MembersChanged
from chatkit.core.subscription import Subscription
from chatkit.websocket.frames import TEXT, make_message, text_frame
from chatkit.websocket.reader import payloads
from chatkit.wire import protocol

# After these, a terminal starts a line, or starts it again. Only the server's own lines start with "! ".
_LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LIKE_SERVER = re.compile(r"(?:(?<=[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])|\A)!+ ")


def event_frame(message: Message) -> bytes:
    """Return the frame of a message as an event of `chatkit.v1`."""
    return text_frame(protocol.message_event(message))


def body_frame(message: Message) -> bytes:
    """Return the frame of a message's body, or nothing for a change that has none to show.

    A line that looks like one of the server's own gets one more `!`.
    """
    body = message.body
    if message.act is not None:
        if message.act is not Act.EDIT:
            return b""
        body = _corrected(body)
    return text_frame((_LIKE_SERVER.sub(r"!\g<0>", body) if "! " in body else body).encode())


def line_frame(message: Message) -> bytes:
    """Return the frame of a message as `sender: body`.

    Further lines of the body are indented, so that none of them looks like a message. For a change that has no text to
    show, return nothing.
    """
    body = message.body
    if message.act is not None:
        if message.act is not Act.EDIT:
            return b""
        body = _corrected(body)
    if not body.isprintable():
        body = _LINE_END.sub(r"\g<0>  ", body)
    line = f"{message.sender}: {body}"
    return text_frame((f"!{line}" if line.startswith("!") and _LIKE_SERVER.match(line) else line).encode())


def _corrected(body: str) -> str:
    """Return the new text of an edit as people who talk in plain text mark a correction."""
    return f"* {body}"


def json_frame(message: Message) -> bytes:
    """Return the frame of a message as a JSON object, with the cursor from which to read on."""
    return text_frame(with_cursor(protocol.message_json(message), message.cursor))


def with_cursor(encoded: bytes, cursor: Cursor) -> bytes:
    """Return an encoded object with a cursor as its last field."""
    return b'%s,"cursor":"%s"}' % (encoded[:-1], str(cursor).encode())  # a cursor needs no escape


# A segment identifies a format by its function, so all sockets that can read the same frames get the same one.
@lru_cache(maxsize=64)
def format_for(encode: Encode, window_bits: int | None) -> Encode:
    """Return the format for sockets that agreed to compression with that window; None means no compression."""
    if window_bits is None:
        return encode

    def compressed(message: Message) -> bytes:
        frames = encode(message)
        return b"".join(make_message(TEXT, payload, window_bits) for payload in payloads(frames)) if frames else b""

    return compressed


def gap_event_frame(subscription: Subscription, gap: Gap) -> bytes:
    """Return the frame of a gap as an event of `chatkit.v1`."""
    return text_frame(protocol.gap_event(subscription.room, gap))


def gap_json_frame(subscription: Subscription, gap: Gap) -> bytes:
    """Return the frame of a gap as a JSON object, with the cursor from which to read on."""
    cursor = Cursor(subscription.epoch, gap.before - 1)
    return text_frame(with_cursor(protocol.encode(protocol.WireGap.of(gap)), cursor))


def gap_line_frame(_: Subscription, gap: Gap) -> bytes:
    """Return the frame of a gap as a sentence, marked as one of the server's own lines."""
    return text_frame(f"! {gap_sentence(gap)}".encode())


def gap_sentence(gap: Gap) -> str:
    """Return a sentence that describes the gap."""
    match gap.reason:
        case "trimmed":
            return f"messages {gap.after + 1} to {gap.before - 1} are no longer kept"
        case "epoch":
            return "the room's log started again"
        case "no-history":
            return "this room keeps no history: the messages since then are not available"


@lru_cache(maxsize=8)  # a change goes to every reader of its room, and is encoded once
def presence_frame(change: MembersChanged) -> bytes:
    """Return the frame of the members that joined and left; in a large room only of the number of members."""
    is_large = max(change.count, len(change.joined) + len(change.left)) > protocol.MAX_LISTED_MEMBERS
    event = protocol.PresenceEvent(room=change.room, count=change.count)
    if not is_large:
        verified, bots = list(change.verified) or None, list(change.bots) or None
        event = replace(event, joined=change.joined, left=change.left, verified=verified, bots=bots)
    return text_frame(protocol.encode(event))


FORMATS = {
    "text": (body_frame, gap_line_frame),
    "line": (line_frame, gap_line_frame),
    "json": (json_frame, gap_json_frame),
}
"""How the plain-text protocol frames messages and gaps, by the `format` that the client asks for."""
