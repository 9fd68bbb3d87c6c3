"""Examples for the AsyncAPI document: one value of each command and event of `chatkit.v1`, and frames of plain text.

The values are those that the protocol encodes, so an example cannot have a field that the protocol does not know.
"""

from typing import Final

import msgspec

from chatkit.core.model import Gap, Message
from chatkit.core.segment import Encode
from chatkit.session.formats import body_frame, gap_sentence, json_frame, line_frame, with_cursor
from chatkit.websocket.reader import payloads
from chatkit.wire.protocol import (
    AckEvent,
    AnyCommand,
    AnyEvent,
    ErrorEvent,
    GapEvent,
    HistoryCommand,
    HistoryEvent,
    JoinCommand,
    JoinedEvent,
    LeaveCommand,
    LeftEvent,
    MarkCommand,
    MarkedEvent,
    MembersCommand,
    MembersEvent,
    MessageEvent,
    PingCommand,
    PongEvent,
    PresenceEvent,
    PublishCommand,
    RedactedEvent,
    RestoredEvent,
    RoomEvent,
    TypingCommand,
    TypingEvent,
    UnreadCommand,
    UnreadEvent,
    WelcomeEvent,
    WireGap,
    WireLimits,
    WireMember,
    WireMessage,
    WireUnread,
    encode,
)

MESSAGE: Final = Message("ops", "k3f9x2ab", 42, 1_795_175_241_123, "ann", "hi")
GAP: Final = Gap(12, 33, "trimmed")
WIRE_MESSAGE: Final = WireMessage.of_message(MESSAGE)
MEMBER: Final = WireMember("bob", MESSAGE.time)
UNREAD: Final = WireUnread("ops", 40, 42, 2, 1)

COMMANDS: Final[tuple[AnyCommand, ...]] = (
    JoinCommand(room="ops", after="k3f9x2ab:32", ref=1),
    LeaveCommand(room="ops", ref=2),
    PublishCommand(room="ops", body="hi", key="k1", ref=3),
    HistoryCommand(room="ops", before=43, limit=10, ref=4),
    MembersCommand(room="ops", ref=5),
    TypingCommand(room="ops"),
    MarkCommand(room="ops", seq=42, ref=6),
    UnreadCommand(ref=7),
    PingCommand(ref=8),
)

EVENTS: Final[tuple[AnyEvent, ...]] = (
    WelcomeEvent("ann", "chatkit/1.0.0", WireLimits(65_536, 1_000, 65_536, 64), verified=True),
    JoinedEvent("ops", "k3f9x2ab:32", 32, 1, 42, [MEMBER], 1, 1, ["read", "write"], "the plan"),
    LeftEvent("ops", 2),
    LeftEvent("ops", None, "room-renamed", "the room 'ops' was renamed to 'dev'", "dev"),
    RoomEvent("ops", "the plan", archived=False, rights=["read"]),
    MessageEvent(MESSAGE.room, MESSAGE.seq, MESSAGE.time, MESSAGE.sender, MESSAGE.body),
    GapEvent("ops", GAP.after, GAP.before, GAP.reason),
    AckEvent("ops", 42, str(MESSAGE.cursor), repeat=False, ref=3, time=MESSAGE.time),
    HistoryEvent("ops", [WIRE_MESSAGE], complete=False, ref=4, gap=WireGap.of(GAP), last=42),
    MembersEvent("ops", [MEMBER], 1, 5),
    MarkedEvent("ops", 42, 6),
    UnreadEvent([UNREAD], 7),
    PresenceEvent(room="ops", joined=["bob"], left=["cat"], count=7),
    TypingEvent("ops", "bob"),
    RedactedEvent("ops", 40),
    ErrorEvent("body-too-large", "a body holds at most 65536 bytes", 3, limit=65_536),
    ErrorEvent("unavailable", "the store is unavailable"),
    RestoredEvent(),
    PongEvent(8),
)


def text_examples() -> list[str]:
    """Return frames of plain text in the formats `text` and `line`, and a line of the server itself."""
    return [_payload(body_frame).decode(), _payload(line_frame).decode(), f"! {gap_sentence(GAP)}"]


def json_examples() -> list[object]:
    """Return what the format `json` of plain text sends: a message and a gap, each with its cursor."""
    gap = with_cursor(encode(WireGap.of(GAP)), MESSAGE.cursor)
    return [msgspec.json.decode(each) for each in (_payload(json_frame), gap)]


def _payload(encode_frame: Encode) -> bytes:
    return b"".join(payloads(encode_frame(MESSAGE)))
