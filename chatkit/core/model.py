"""The values of the core: messages, drafts, receipts, cursors, gaps and members, and the rules for names and bodies.

Nothing here reads a clock, waits, or knows how it is stored or sent.
"""

import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, Self, TypeAlias, assert_never

import msgspec

from chatkit.core.emoji import check_emoji
from chatkit.core.json_decoder import decode_json
from chatkit.core.message_state import Act, MessageState
from chatkit.core.text import BLANKS, has_invisible, normalize
from chatkit.errors import BadBody, BadCursor, BadName, BadRequest, TooLarge

MAX_ROOM_CHARS = 64
MAX_SENDER_CHARS = 32
MAX_KEY_CHARS = 128
MAX_DECOMPOSED = 4  # code points that compose to one: the NFC of a longer text is too long for a name
MAX_DATA_DEPTH = 64  # far below the depth at which the recursion of an encoder or decoder fails
MAX_TIME_MS = 253_370_764_800_000  # 9999-01-01: later times do not fit in every time zone
ANONYMOUS = "anonymous"
MAX_SEQ = 10**17  # a cursor has 18 digits, so that numbers are left for later messages

GapReason: TypeAlias = Literal["trimmed", "epoch", "no-history"]

ROOM_RULE = f"1 to {MAX_ROOM_CHARS} letters, digits, '-', '_' or '.', and does not begin with '.'"
SENDER_RULE = f"1 to {MAX_SENDER_CHARS} printable characters, each of which can be seen"
KEY_RULE = f"1 to {MAX_KEY_CHARS} printable ASCII characters"


class Limits(msgspec.Struct, frozen=True):
    """The limits of a server.

    `body` and `data` are sizes in bytes of UTF-8, `history` is the number of messages in one page, and `rooms` the
    number of rooms that one connection may join.
    """

    body: int = 65_536
    data: int = 65_536
    history: int = 1_000
    rooms: int = 64


DEFAULT_LIMITS = Limits()


class Cursor(msgspec.Struct, frozen=True, order=True):
    """A position in a room's log: everything up to and including `seq` has been read. Opaque to clients."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the result of `str(cursor)`. Raise `BadCursor` for anything else."""
        epoch, colon, seq = text.rpartition(":")
        if not (colon and 0 < len(epoch) <= 32 and epoch.isalnum() and epoch.isascii()):
            raise BadCursor(text)
        if not (len(seq) <= 18 and seq.isascii() and seq.isdigit()):  # 18 digits always fit in a store's 64 bits
            raise BadCursor(text)
        return cls(epoch, int(seq))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"


class Message(msgspec.Struct, frozen=True):
    """A committed message.

    `seq` counts 1, 2, 3 … in its room and gives the order. `time_ms` is the store's clock at commit, as Unix time in
    milliseconds; it goes back if that clock is set back. If `redacted`, `body` and `data` were removed. If `verified`,
    the sender's name was bound to a token; if `bot`, that token was a bot's or a hook's. `of` is the number of the
    earlier message that this one refers to: a reply, or, with an `act`, a change of it. `mentions` are the names that
    the body mentions. `state` is what later messages say about it, if it was asked for and there are some.
    """

    room: str
    epoch: str
    seq: int
    time_ms: int
    sender: str
    body: str
    data: Any = None
    key: str | None = None
    redacted: bool = False
    verified: bool = False
    bot: bool = False
    of: int | None = None
    act: Act | None = None
    mentions: tuple[str, ...] = ()
    state: MessageState | None = None

    @property
    def cursor(self) -> Cursor:
        """The position after this message."""
        return Cursor(self.epoch, self.seq)

    @property
    def time(self) -> str:
        """The time of the commit, as RFC 3339 in UTC with milliseconds."""
        return format_time(self.time_ms)

    def tombstone(self) -> Self:
        """Return what a redaction leaves of this message: everything but its body, data and mentions."""
        return msgspec.structs.replace(self, body="", data=None, mentions=(), redacted=True)


class Draft(msgspec.Struct, frozen=True):
    """A message that is not committed yet. `new` makes one and checks it; use it unless all parts are valid already."""

    room: str
    sender: str
    body: str
    data: Any = None
    key: str | None = None
    verified: bool = False
    bot: bool = False
    of: int | None = None
    act: Act | None = None
    mentions: tuple[str, ...] = ()

    @classmethod
    def new(
        cls,
        room: str,
        body: str,
        *,
        sender: str = ANONYMOUS,
        data: Any = None,
        key: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        verified: bool = False,
        bot: bool = False,
        of: int | None = None,
        act: Act | None = None,
    ) -> Self:
        """Make a draft from checked and normalised parts. Raise `BadName`, `BadBody`, `TooLarge` or `BadRequest`."""
        if of is not None or act is not None:
            body = check_reference(of, act, body, data)
        return cls(
            check_room(room),
            check_sender(sender),
            check_body(body, limits.body),
            data if data is None else check_data(data, limits.data),
            key if key is None else check_key(key),
            verified,
            bot,
            of,
            act,
        )

    def to_message(self, epoch: str, seq: int, time_ms: int) -> Message:
        """Return the message that the draft becomes when it is committed."""
        return Message(
            self.room,
            epoch,
            seq,
            time_ms,
            self.sender,
            self.body,
            self.data,
            self.key,
            False,  # noqa: FBT003 - all by position: once for each message
            self.verified,
            self.bot,
            self.of,
            self.act,
            self.mentions,
        )


class Receipt(msgspec.Struct, frozen=True):
    """The outcome of a draft. If `repeat`, its sender had used its key before, and nothing was appended.

    `message` is the draft's, or the earlier one with its key. `conflict` is true if that earlier message has another
    body, other data, or refers to another message or in another way; the hub then refuses the draft with `KeyConflict`.
    For a change that changes nothing, `message` is the one that it refers to.
    """

    message: Message
    repeat: bool = False
    conflict: bool = False


class Gap(msgspec.Struct, frozen=True):
    """The messages between `after` and `before`, both exclusive, are not available."""

    after: int
    before: int
    reason: GapReason


class Head(msgspec.Struct, frozen=True, gc=False):  # see RoomInfo
    """The extent of a room's log. `first` is the oldest `seq` that is kept; it is `last + 1` if no message is kept."""

    epoch: str
    first: int
    last: int


class Member(msgspec.Struct, frozen=True):
    """A name that is present in a room. `since_ms` is when it joined, as Unix time in milliseconds.

    `verified` and `bot` are those of the identity that has the name, as in a `Message`.
    """

    name: str
    since_ms: int
    verified: bool = False
    bot: bool = False

    @property
    def since(self) -> str:
        """The time at which the member joined, as RFC 3339 in UTC with milliseconds."""
        return format_time(self.since_ms)


@lru_cache(maxsize=64)  # the messages of a batch have the same time
def format_time(time_ms: int) -> str:
    """Write Unix milliseconds as RFC 3339 in UTC: `2026-11-20T11:47:21.123Z`."""
    return f"{_format_second(time_ms // 1000)}.{time_ms % 1000:03d}Z"


@lru_cache(maxsize=64)  # the date is computed once a second, not once a message
def _format_second(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse_time(text: str) -> int:
    """Parse an RFC 3339 time as Unix milliseconds. Raise `ValueError` for anything else."""
    time = datetime.fromisoformat(text)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def check_end(end_ms: int | None, now_ms: int, what: str) -> None:
    """Raise `BadRequest` if the end of `what` is not in the future, or is later than a time can be; None is no end."""
    if end_ms is not None and not now_ms < end_ms < MAX_TIME_MS:
        raise BadRequest(f"the end of {what} is in the future, and before the year 9999")


@lru_cache(maxsize=4096)  # every message carries one of the same few names
def check_room(name: str) -> str:
    """Return the room's name in NFC. Raise `BadName` if it breaks the rule."""
    if len(name) <= MAX_ROOM_CHARS * MAX_DECOMPOSED:
        name = normalize(name)
        is_short = 1 <= len(name) <= MAX_ROOM_CHARS
        if is_short and name[0] != "." and all(map(_in_room_name, name)) and not has_invisible(name):
            return name
    raise BadName("room", ROOM_RULE)


def check_readable_room(name: str) -> str:
    """Return the name of a room, or of a system room, whose name begins with a dot. Raise `BadName`."""
    return f".{check_room(name[1:])}" if name.startswith(".") else check_room(name)


def _in_room_name(char: str) -> bool:
    # Marks (M*) belong to the letters of the scripts that write vowels with them.
    return char in "-_." or unicodedata.category(char)[0] in "LM" or unicodedata.category(char) == "Nd"


def check_sender(name: str) -> str:
    """Return the sender's name, trimmed and in NFC. Raise `BadName` if it breaks the rule."""
    # Before the cache, which would otherwise keep texts with any number of blanks.
    return _check_sender(name.strip(BLANKS))


@lru_cache(maxsize=4096)
def _check_sender(name: str) -> str:
    if len(name) <= MAX_SENDER_CHARS * MAX_DECOMPOSED:
        name = normalize(name)
        # str.isprintable refuses the categories Cc, Cf (with bidi), Cs, Co, Cn, and every separator but the space.
        if 1 <= len(name) <= MAX_SENDER_CHARS and name.isprintable() and not has_invisible(name):
            return name
    raise BadName("sender", SENDER_RULE)


def check_key(key: str) -> str:
    """Return the key. Raise `BadName` if it breaks the rule."""
    if not 1 <= len(key) <= MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise BadName("key", KEY_RULE)
    return key


def check_body(body: str, max_bytes: int) -> str:
    """Return the body. Raise `TooLarge`, or `BadBody` if UTF-8 cannot encode it (a lone surrogate)."""
    if len(body) > max_bytes:
        raise TooLarge("body", max_bytes)
    if not body.isascii():  # an ASCII body, the common case, has one byte a character
        try:
            size = len(body.encode())
        except UnicodeEncodeError as error:
            raise BadBody("a body is UTF-8 text") from error
        if size > max_bytes:
            raise TooLarge("body", max_bytes)
    return body


def check_reference(of: int | None, act: Act | None, body: str, data: Any) -> str:
    """Return the body of a reply or of a change, an emoji in its usual form. Raise `BadRequest` for any other parts."""
    if of is None or not 1 <= of <= MAX_SEQ:
        raise BadRequest("`of` is the number of an earlier message of the room")
    if act is not None and data is not None:
        raise BadRequest("a change of a message has no data")
    match act:
        case None:
            pass
        case Act.EDIT:
            if not body:
                raise BadRequest("an edit needs the new text: to remove a message, redact it")
        case Act.REACT | Act.UNREACT:
            return check_emoji(body)
        case Act.PIN | Act.UNPIN:
            if body:
                raise BadRequest("a pin has no body")
        case Act.REDACT:
            raise BadRequest("a redaction is not published: delete the message")
        case _:
            assert_never(act)
    return body


def check_data(data: Any, max_bytes: int) -> Any:
    """Return the value as it is after a JSON round trip. Raise `TooLarge`, or `BadBody` if it is not a JSON value."""
    try:
        encoded = msgspec.json.encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadBody("data is a JSON value") from error
    if len(encoded) > max_bytes:
        raise TooLarge("data", max_bytes)
    try:
        # So a tuple becomes a list in every store, not only in those that store JSON.
        data = decode_json(encoded)
    except (ValueError, RecursionError) as error:
        raise BadBody("data is a JSON value") from error
    if encoded.count(b"[") + encoded.count(b"{") > MAX_DATA_DEPTH and _depth(data) > MAX_DATA_DEPTH:
        raise BadBody(f"data is nested at most {MAX_DATA_DEPTH} deep")
    return data


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth
