"""All errors of chatkit, as one tree. Each has a stable `code`, which WebSocket, HTTP and the commands share.

ChatkitError
├── BadInput             the input of a caller is invalid; sending it again does not help
│   ├── BadName          the name of a room or sender, or a key, breaks its rule
│   ├── BadCursor        the text is not a cursor of a chatkit server
│   ├── BadBody          a body is not text, or its data not JSON
│   ├── TooLarge         a body or its data exceeds the limit
│   ├── BadRequest       a command or query does not have the required form
│   ├── UnknownOp        the protocol has no such command
│   └── TooManyRooms     a connection tried to join more rooms than the limit
├── BadReference         a message cannot refer to that one: it is missing, a change itself, or redacted
├── NotFound             there is no such room, message or page
├── RoomRenamed          the room has another name; carries it
├── KeyConflict          the sender has used the key for another message
├── VersionConflict      a record was changed at the same time
├── LeaseExpired         a consumer's lease has run out, so others may have its messages
├── RateLimited          the client exceeded its rate; carries the time after which to retry
├── BotLoop              only bots have written for a long time: they wait until a person writes
├── Unauthorized         there is no valid token
├── Forbidden            the token, or the page's origin, does not have the right
├── Banned               the token, name or network is banned
├── NameTaken            a token holds this name, or one that looks like it
├── InviteUsed           the invite was redeemed as often as it may be, or has expired
├── BadBackendURL        the backend URL is invalid
├── StoreError           the store answered, but its content cannot be used
│   ├── NotAStore        the file or database is not a chatkit store
│   └── StoreTooNew      a newer version of chatkit wrote the store
└── Unavailable          the store or the server does not answer now; retrying may help
"""

import os


class ChatkitError(Exception):
    """The base of all errors that chatkit raises. `str(error)` is a sentence for the person who caused it."""

    code: str = "error"


class BadInput(ChatkitError):
    """The input of a caller is invalid."""

    code = "bad-request"


class BadName(BadInput):
    """The name of a room or sender, or a key, breaks its rule.

    `kind` is `room`, `sender` or `key`; the error's code is `bad-room`, `bad-sender` or `bad-key`.
    """

    def __init__(self, kind: str, rule: str) -> None:
        super().__init__(f"a {kind} is {rule}")
        self.kind = kind
        self.code = f"bad-{kind}"


class BadCursor(BadInput):
    """The text is not a cursor of a chatkit server."""

    code = "bad-cursor"

    def __init__(self, cursor: str) -> None:
        super().__init__(f"not a cursor: {cursor[:80]!r} (example: k3f9x2ab:42)")
        self.cursor = cursor


class BadBody(BadInput):
    """A body is not UTF-8 text, or its data is not JSON."""

    code = "bad-body"


class TooLarge(BadInput):
    """A body (`body-too-large`) or its data (`data-too-large`) exceeds the limit.

    `max_bytes` is the limit, or None if a server refused the message without sending its limit.
    """

    max_bytes: int | None

    def __init__(self, what: str, max_bytes: int) -> None:
        super().__init__(f"{'a ' if what == 'body' else ''}{what} holds at most {max_bytes} bytes")
        self.max_bytes = max_bytes
        self.code = f"{what}-too-large"


class BadRequest(BadInput):
    """A command or query does not have the required form."""


class UnknownOp(BadInput):
    """The protocol has no such command."""

    code = "unknown-op"

    def __init__(self, op: str) -> None:
        super().__init__(f"there is no op {op[:80]!r}")
        self.op = op


class TooManyRooms(BadInput):
    """A connection tried to join more rooms than the limit.

    `max_rooms` is the limit, or None if a server refused the join without sending its limit.
    """

    code = "too-many-rooms"
    max_rooms: int | None

    def __init__(self, max_rooms: int) -> None:
        super().__init__(f"a connection joins at most {max_rooms} rooms")
        self.max_rooms = max_rooms


class BadReference(ChatkitError):
    """A message refers to one that does not exist, that is a change itself, or that is redacted. Nothing was stored."""

    code = "bad-reference"


class NotFound(ChatkitError):
    """There is no such room, message or page."""

    code = "not-found"


class RoomRenamed(ChatkitError):
    """The room has another name. `renamed_to` is the new one, at which cursors and keys of the room stay valid."""

    code = "room-renamed"

    def __init__(self, room: str, renamed_to: str) -> None:
        super().__init__(f"the room {room!r} was renamed to {renamed_to!r}")
        self.renamed_to = renamed_to


class KeyConflict(ChatkitError):
    """The sender has used this key in this room for a message with another body or other data. Nothing was stored."""

    code = "key-conflict"

    def __init__(self, key: str) -> None:
        super().__init__(f"another message of this sender in this room has the key '{key}'")
        self.key = key


class VersionConflict(ChatkitError):
    """A record was not changed, because it does not have the expected version. Read it again and decide again."""

    code = "version-conflict"

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"the {kind} {key!r} was changed at the same time: read it again")


class LeaseExpired(ChatkitError):
    """A lease of a consumer has run out or was ended, so other workers may have its messages."""

    code = "lease-expired"

    def __init__(self) -> None:
        super().__init__("the lease has run out: other workers may have its messages now")


class RateLimited(ChatkitError):
    """The client exceeded its rate. `retry_after_s` is the time after which to retry, in seconds."""

    code = "rate-limited"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too much at once: retry in {retry_after_s:.2g} s")
        self.retry_after_s = retry_after_s


class BotLoop(ChatkitError):
    """The newest messages of a room are all of bots that take turns. Bots wait for a person there.

    `n_messages` is the number of such messages that the server allows. Nothing was stored, and retrying
    does not help before a person has written.
    """

    code = "bot-loop"

    def __init__(self, room: str, n_messages: int) -> None:
        super().__init__(
            f"the last {n_messages} messages in {room!r} are all of bots: stop, and wait there until a person writes"
        )
        self.n_messages = n_messages


class Unauthorized(ChatkitError):
    """There is no valid token."""

    code = "unauthorized"


class Forbidden(ChatkitError):
    """The client is known, but does not have the right to do this."""

    code = "forbidden"


class Banned(ChatkitError):
    """The client's token, name or network is banned. `until_ms` is when the ban ends, or None for no end."""

    code = "banned"
    until_ms: int | None

    def __init__(self, reason: str = "", until_ms: int | None = None) -> None:
        super().__init__(f"banned: {reason}" if reason else "banned")
        self.until_ms = until_ms


class NameTaken(ChatkitError):
    """A token holds this name, or one that looks like it."""

    code = "name-taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"the name {name[:80]!r} belongs to somebody else: use another name, or its token")
        self.name = name


class InviteUsed(ChatkitError):
    """The invite was redeemed as often as it may be, or has expired."""

    code = "invite-used"


class BadBackendURL(ChatkitError):
    """The backend URL is invalid; the sentence names the mistake."""

    code = "bad-backend-url"


class StoreError(ChatkitError):
    """The store answered, but its content cannot be used."""

    code = "bad-store"


class NotAStore(StoreError):
    """The file or database is not a chatkit store."""

    code = "not-a-store"


class StoreTooNew(StoreError):
    """A newer version of chatkit wrote the store."""

    code = "store-too-new"


class Unavailable(ChatkitError):
    """The store or the server does not answer now. Nothing was stored, and retrying may help."""

    code = "unavailable"


def system_reason(error: OSError) -> str:
    """Return the operating system's reason of an error, without the address or path, which the caller names.

    The `strerror` of asyncio's failed connections is a sentence with the address.
    """
    if error.errno is not None and (error.strerror or "").startswith("Connect call failed"):
        return os.strerror(error.errno)
    return error.strerror or str(error)
