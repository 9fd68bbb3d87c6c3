"""What can go wrong, as one tree. Each error has a stable `code`, which the wire, HTTP and the commands share.

ChatkitError
├── BadInput             what a caller gave cannot be taken; giving it again will not help
│   ├── BadName          a room's, sender's or key's name is not one
│   ├── BadCursor        a cursor that no server made
│   ├── BadBody          a body or its data is not text, or not JSON
│   ├── TooLarge         a body or its data is over the limit
│   ├── BadRequest       a command or a query does not have the form it needs
│   ├── UnknownOp        a command that this protocol does not have
│   └── TooManyRooms     one connection joined more rooms than it may
├── NotFound             a room, message or page that is not there
├── KeyConflict          a sender used a key again for another message
├── RateLimited          too much at once; says when to go on
├── Unauthorized         no valid token
├── Forbidden            a valid token, or a place of origin, without the right
├── BadBackendURL        a backend URL that cannot be opened as it stands
├── StoreError           the store answered, and what it holds cannot be used
│   ├── NotAStore        the file or database is something else
│   └── StoreTooNew      a newer chatkit wrote it
└── Unavailable          the store or the server does not answer now; trying again may help
"""


class ChatkitError(Exception):
    """Anything that chatkit raises on purpose. `str(error)` is a sentence for the person who caused it."""

    code: str = "error"


class BadInput(ChatkitError):
    """What a caller gave cannot be taken."""

    code = "bad-request"


class BadName(BadInput):
    """The name of a room or sender, or a key, breaks the rule of its kind.

    `kind` is `room`, `sender` or `key`; the error's code is `bad-room`, `bad-sender` or `bad-key`.
    """

    def __init__(self, kind: str, rule: str) -> None:
        super().__init__(f"a {kind} is {rule}")
        self.kind = kind
        self.code = f"bad-{kind}"


class BadCursor(BadInput):
    """A cursor that no server made."""

    code = "bad-cursor"

    def __init__(self, cursor: str) -> None:
        super().__init__(f"not a cursor: {cursor[:80]!r}")
        self.cursor = cursor


class BadBody(BadInput):
    """A body that is not UTF-8 text, or data that is not JSON."""

    code = "bad-body"


class TooLarge(BadInput):
    """A body (`body-too-large`) or its data (`data-too-large`) is over the limit.

    `max_bytes` is None where a server refused it and did not send its limit; so is `max_rooms` of `TooManyRooms`.
    """

    max_bytes: int | None

    def __init__(self, what: str, max_bytes: int) -> None:
        super().__init__(f"{'a ' if what == 'body' else ''}{what} holds at most {max_bytes} bytes")
        self.max_bytes = max_bytes
        self.code = f"{what}-too-large"


class BadRequest(BadInput):
    """A command or query without the form it needs."""


class UnknownOp(BadInput):
    """A command that the protocol does not have."""

    code = "unknown-op"

    def __init__(self, op: str) -> None:
        super().__init__(f"there is no op {op[:80]!r}")
        self.op = op


class TooManyRooms(BadInput):
    """One connection joined more rooms than it may."""

    code = "too-many-rooms"
    max_rooms: int | None

    def __init__(self, max_rooms: int) -> None:
        super().__init__(f"a connection joins at most {max_rooms} rooms")
        self.max_rooms = max_rooms


class NotFound(ChatkitError):
    """A room, message or page that is not there."""

    code = "not-found"


class KeyConflict(ChatkitError):
    """The sender used this key before, in this room, for a message with another body or other data.

    Nothing was stored.
    """

    code = "key-conflict"

    def __init__(self, key: str) -> None:
        super().__init__(f"another message of this sender in this room has the key '{key}'")
        self.key = key


class RateLimited(ChatkitError):
    """Too much at once. `retry_after_s` says, in seconds, when to go on."""

    code = "rate-limited"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too much at once: go on in {retry_after_s:.2g} s")
        self.retry_after_s = retry_after_s


class Unauthorized(ChatkitError):
    """No valid token."""

    code = "unauthorized"


class Forbidden(ChatkitError):
    """Known, but without the right to do this."""

    code = "forbidden"


class BadBackendURL(ChatkitError):
    """A backend URL that cannot be opened as it stands; the sentence names what is wrong with it."""

    code = "bad-backend-url"


class StoreError(ChatkitError):
    """The store answered, and what it holds cannot be used."""

    code = "bad-store"


class NotAStore(StoreError):
    """The file or database is something else."""

    code = "not-a-store"


class StoreTooNew(StoreError):
    """A newer chatkit wrote this store."""

    code = "store-too-new"


class Unavailable(ChatkitError):
    """The store or the server does not answer now; nothing was stored, and trying again may help."""

    code = "unavailable"
