"""Examples for the OpenAPI document: a value of each body that the server answers with, and an error of each code."""

from typing import Final

import msgspec

from chatkit.core.access import BanSubject, Grant, Right
from chatkit.core.message_state import Act
from chatkit.core.token import TokenKind
from chatkit.core.webhook import WebhookEvent
from chatkit.errors import (
    BadBody,
    BadCursor,
    BadName,
    BadReference,
    BadRequest,
    Banned,
    BotLoop,
    ChatkitError,
    Forbidden,
    InviteUsed,
    KeyConflict,
    LeaseExpired,
    NameTaken,
    NotFound,
    RateLimited,
    RoomRenamed,
    TooLarge,
    Unauthorized,
    Unavailable,
    VersionConflict,
)
from chatkit.server.asyncapi_examples import GAP, MEMBER, MESSAGE, UNREAD, WIRE_MESSAGE
from chatkit.server.streams import EVENT_STREAM, message_line
from chatkit.wire.access import BanListing, BanView, MeView, NewTokenView, TokenList, TokenView
from chatkit.wire.consumers import ConsumerList, ConsumerView, TakenView
from chatkit.wire.http import (
    Health,
    MarkerView,
    MemberList,
    MessageList,
    MessagePage,
    PublishRequest,
    RoomList,
    RoomView,
    UnreadList,
)
from chatkit.wire.messages import WireEdit, WireReaction
from chatkit.wire.protocol import WireGap, WireMessage
from chatkit.wire.webhooks import (
    ExchangeAnswer,
    ExchangeRequest,
    ExchangeView,
    Header,
    NewWebhookView,
    WebhookListing,
    WebhookView,
)

_CURSOR: Final = str(MESSAGE.cursor)
_STATE: Final = {
    "edited": WireEdit(43, MESSAGE.time),
    "reactions": {"👍": WireReaction(2, ("bob", "cat"))},
    "replies": 1,
    "pinned": True,
}
_ROOM: Final = RoomView("ops", 1, 42, _CURSOR, 2, MESSAGE.time, topic="the plan", keep=1_000)
_GRANTS: Final = (Grant("ops*", (Right.READ, Right.WRITE)),)
_TOKEN: Final = TokenView("y8x2ftwocr", "ann", TokenKind.PERSON, _GRANTS, MESSAGE.time, "boss")
_SECRET: Final = f"ck_{_TOKEN.id}_" + "A" * 43
_BAN: Final = BanView("muktaqip41", BanSubject.NAME, "bob", "ops", MESSAGE.time, "ann", "spam")
_CONSUMER: Final = ConsumerView(
    room="ops",
    name="indexer",
    owner="ann",
    cursor="k3f9x2ab:40",
    lag=2,
    leased=1,
    waiting=0,
    failed=0,
    missed=0,
    retries=5,
    ordered=False,
)
_WEBHOOK: Final = WebhookView(
    id="k3f9x2m4qa",
    url="https://example.org/hook",
    rooms=("ops",),
    events=(WebhookEvent.MESSAGE,),
    created=MESSAGE.time,
    made_by="ann",
    state="failing",
    failures=3,
    failing_since=MESSAGE.time,
    next_try=MESSAGE.time,
    reason="the receiver answered 500 Internal Server Error",
)
_EXCHANGE: Final = ExchangeView(
    ok=True,
    duration_s=0.12,
    request=ExchangeRequest("POST", _WEBHOOK.url, (Header("Content-Type", "application/json"),), '{"type":"test"}'),
    answer=ExchangeAnswer(204, (Header("Server", "nginx"),), ""),
)

_VALUES: Final[tuple[msgspec.Struct, ...]] = (
    RoomList([_ROOM]),
    _ROOM,
    MemberList([MEMBER], 1),
    MessagePage([WIRE_MESSAGE], _CURSOR, 33, 42, complete=True, gap=WireGap.of(GAP)),
    msgspec.structs.replace(WIRE_MESSAGE, **_STATE),
    PublishRequest("hello"),
    MessageList([WIRE_MESSAGE], complete=True),
    MarkerView("ops", 42),
    UnreadList([UNREAD]),
    Health("ok", "1.0.0", 12, 3, 14, pid=4711),
    MeView("ann", _GRANTS, verified=True, token=_TOKEN.id),
    TokenList([_TOKEN]),
    _TOKEN,
    NewTokenView(**msgspec.structs.asdict(_TOKEN), secret=_SECRET),
    BanListing([_BAN]),
    _BAN,
    ConsumerList([_CONSUMER]),
    _CONSUMER,
    TakenView([WIRE_MESSAGE], "c3Vydmlfb3Jz", _CURSOR),
    WebhookListing([_WEBHOOK]),
    _WEBHOOK,
    NewWebhookView(
        id=_WEBHOOK.id,
        url=_WEBHOOK.url,
        rooms=("ops",),
        events=_WEBHOOK.events,
        created=MESSAGE.time,
        made_by="ann",
        state="active",
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwM3yxYoYjR0M=",  # noqa: S106 - an example
    ),
    _EXCHANGE,
)
EXAMPLES: Final = {type(value): msgspec.to_builtins(value) for value in _VALUES}
ENTRY: Final = msgspec.to_builtins(WireMessage("ops", 43, MESSAGE.time, "bob", ":tada:", of=42, act=Act.REACT))
LINES: Final = message_line(MESSAGE).decode()
EVENTS: Final = EVENT_STREAM.item(MESSAGE, MESSAGE.epoch).decode()

ERROR_EXAMPLES: Final[tuple[ChatkitError, ...]] = (
    BadRequest("limit must be a number"),
    BadName("room", "begins with a letter or digit"),
    BadName("sender", "has 1 to 32 characters"),
    BadName("key", "has 1 to 128 characters of printable ASCII"),
    BadCursor("yesterday"),
    BadBody("a body is UTF-8 text"),
    Unauthorized("a token is needed"),
    Forbidden("this needs the right `write` in the room 'ops'"),
    Banned("spam"),
    NameTaken("ann"),
    InviteUsed("this invite was used already: ask for another"),
    NotFound("there is no such room, or no such message in it"),
    RoomRenamed("ops", "dev"),
    KeyConflict("k1"),
    BotLoop("ops", 100),
    VersionConflict("room", "ops"),
    LeaseExpired(),
    TooLarge("body", 65_536),
    TooLarge("data", 65_536),
    BadReference("message 42 is redacted"),
    RateLimited(2.0),
    Unavailable("the store is unavailable"),
)
