"""The codes of errors: each with its class, HTTP status, WebSocket close code and exit code, in one table.

Also the values that an error carries beside its sentence, so that the receiver never has to parse the sentence.
"""

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from chatkit.core.token import mask_secrets
from chatkit.errors import (
    BadBackendURL,
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
    NotAStore,
    NotFound,
    RateLimited,
    RoomRenamed,
    StoreError,
    StoreTooNew,
    TooLarge,
    TooManyRooms,
    Unauthorized,
    Unavailable,
    UnknownOp,
    VersionConflict,
)
from chatkit.websocket.codes import CloseCode

DEFAULT_RETRY_AFTER_S: Final = 1.0  # if a server sends no time after which to retry
MAX_VALUE_CHARS: Final = 80  # of a text that was refused: enough to recognize it


class PrivateCloseCode(IntEnum):
    """chatkit's close codes, in the range for private use. Up to 4499, a client must not reconnect by itself."""

    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    UNAVAILABLE = 4503
    OVERLOADED = 4508  # too many connections, or a client that exceeds its rate


LAST_FATAL_CLOSE_CODE: Final = 4499


class ExitCode(IntEnum):
    """The exit codes of the commands."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    NO_SERVER = 3
    NOT_ALLOWED = 4
    MESSAGES_MISSING = 5  # a gap, though everything else was printed
    INTERRUPTED = 130  # 128 and the number of SIGINT, as shells report it


AnyCloseCode: TypeAlias = CloseCode | PrivateCloseCode


class _Row(NamedTuple):
    code: str
    kind: type[ChatkitError]
    status: int
    exit_code: ExitCode
    close_code: AnyCloseCode = CloseCode.POLICY_VIOLATION


# If several rows have the same status or close code, that number is decoded as the first of them.
_TABLE: Final = (
    _Row("internal", ChatkitError, 500, ExitCode.FAILED),
    _Row("error", ChatkitError, 500, ExitCode.FAILED),
    _Row("bad-request", BadRequest, 400, ExitCode.WRONG_USAGE),
    _Row("unknown-op", UnknownOp, 400, ExitCode.WRONG_USAGE),
    _Row("bad-room", BadName, 400, ExitCode.WRONG_USAGE),
    _Row("bad-sender", BadName, 400, ExitCode.WRONG_USAGE),
    _Row("bad-key", BadName, 400, ExitCode.WRONG_USAGE),
    _Row("bad-cursor", BadCursor, 400, ExitCode.WRONG_USAGE),
    _Row("bad-body", BadBody, 400, ExitCode.FAILED),  # the command line is right, but its input is not
    _Row("body-too-large", TooLarge, 413, ExitCode.FAILED),  # as above
    _Row("data-too-large", TooLarge, 413, ExitCode.FAILED),
    _Row("too-many-rooms", TooManyRooms, 400, ExitCode.WRONG_USAGE),
    _Row("unauthorized", Unauthorized, 401, ExitCode.NOT_ALLOWED, PrivateCloseCode.UNAUTHORIZED),
    _Row("forbidden", Forbidden, 403, ExitCode.NOT_ALLOWED, PrivateCloseCode.FORBIDDEN),
    _Row("banned", Banned, 403, ExitCode.NOT_ALLOWED, PrivateCloseCode.FORBIDDEN),
    _Row("name-taken", NameTaken, 403, ExitCode.NOT_ALLOWED, PrivateCloseCode.FORBIDDEN),
    _Row("invite-used", InviteUsed, 403, ExitCode.NOT_ALLOWED, PrivateCloseCode.FORBIDDEN),
    _Row("not-found", NotFound, 404, ExitCode.FAILED, PrivateCloseCode.NOT_FOUND),
    _Row("bad-reference", BadReference, 422, ExitCode.FAILED),
    _Row("room-renamed", RoomRenamed, 409, ExitCode.FAILED, PrivateCloseCode.NOT_FOUND),
    _Row("key-conflict", KeyConflict, 409, ExitCode.FAILED),
    _Row("version-conflict", VersionConflict, 409, ExitCode.FAILED),
    _Row("lease-expired", LeaseExpired, 409, ExitCode.FAILED),
    _Row("bot-loop", BotLoop, 409, ExitCode.FAILED),  # not 429, after which programs try again by themselves
    _Row("method-not-allowed", ChatkitError, 405, ExitCode.FAILED),
    _Row("timeout", ChatkitError, 408, ExitCode.FAILED),
    _Row("rate-limited", RateLimited, 429, ExitCode.FAILED, PrivateCloseCode.OVERLOADED),
    _Row("unavailable", Unavailable, 503, ExitCode.NO_SERVER, PrivateCloseCode.UNAVAILABLE),
    _Row("bad-backend-url", BadBackendURL, 500, ExitCode.WRONG_USAGE),
    _Row("bad-store", StoreError, 500, ExitCode.NO_SERVER),
    _Row("not-a-store", NotAStore, 500, ExitCode.NO_SERVER),
    _Row("store-too-new", StoreTooNew, 500, ExitCode.NO_SERVER),
)
_BY_CODE: Final = {row.code: row for row in _TABLE}
_CODE_BY_STATUS: Final = {row.status: row.code for row in reversed(_TABLE)}
_CODE_BY_CLOSE: Final[dict[int, str]] = {row.close_code: row.code for row in reversed(_TABLE) if row.close_code >= 4000}


def status_of(error: ChatkitError) -> int:
    """Return the HTTP status of an error."""
    return _row_of(error).status


def close_code_of(error: ChatkitError) -> AnyCloseCode:
    """Return the close code with which an error ends a connection."""
    return _row_of(error).close_code


def exit_code_of(error: ChatkitError) -> ExitCode:
    """Return the exit code of a command that an error ends."""
    return _row_of(error).exit_code


def code_of_status(status: int) -> str:
    """Return the code for an HTTP status, for an answer whose body names none."""
    return _CODE_BY_STATUS.get(status, ChatkitError.code)


def code_of_close(close_code: int) -> str:
    """Return the code of the error for a close code."""
    return _CODE_BY_CLOSE.get(close_code, ChatkitError.code)


def _row_of(error: ChatkitError) -> _Row:
    """Return the row of the error's code, or of its nearest base class if a later version added the code."""
    codes = [error.code, *(getattr(kind, "code", "") for kind in type(error).__mro__)]
    return next(_BY_CODE[code] for code in codes if code in _BY_CODE)


def text_of(error: ChatkitError) -> str:
    """Return the sentence of an error as a client gets it. It may repeat what the client sent, but no secret."""
    return mask_secrets(str(error))


class Details(NamedTuple):
    """The values that an error carries beside its sentence, or None for those that it lacks.

    `retry_after_s` is the time after which to retry, in seconds. `limit` is the largest size in bytes, or number, that
    is allowed. `value` is the text that was refused, or the new name of a room.
    """

    retry_after_s: float | None = None
    limit: int | None = None
    value: str | None = None


def details_of(error: ChatkitError) -> Details:
    """Return the values that an error carries, without secrets."""
    details = _details_of(error)
    return details if details.value is None else details._replace(value=mask_secrets(details.value))


def _details_of(error: ChatkitError) -> Details:  # noqa: PLR0911 - a table of cases
    match error:
        case RateLimited():
            return Details(retry_after_s=error.retry_after_s)
        case TooLarge():
            return Details(limit=error.max_bytes)
        case TooManyRooms():
            return Details(limit=error.max_rooms)
        case BotLoop():
            return Details(limit=error.n_messages)
        case BadCursor():
            return Details(value=error.cursor[:MAX_VALUE_CHARS])
        case UnknownOp():
            return Details(value=error.op[:MAX_VALUE_CHARS])
        case KeyConflict():
            return Details(value=error.key)
        case RoomRenamed():
            return Details(value=error.renamed_to)
        case NameTaken():
            return Details(value=error.name[:MAX_VALUE_CHARS])
        case _:
            return Details()


def error_of(  # noqa: C901 - a table of cases
    code: str,
    sentence: str,
    details: Details = Details(),  # noqa: B008 - immutable
) -> ChatkitError:
    """Make the error of a code, with the sentence of the sender. An unknown code, of a later version, is kept."""
    kind = _BY_CODE[code].kind if code in _BY_CODE else ChatkitError
    error = kind.__new__(kind, sentence)  # without its constructor, which would make another sentence
    error.code = code
    match error:
        case RateLimited():
            given = details.retry_after_s
            error.retry_after_s = DEFAULT_RETRY_AFTER_S if given is None else given
        case TooLarge():
            error.max_bytes = details.limit
        case TooManyRooms():
            error.max_rooms = details.limit
        case BotLoop():
            error.n_messages = details.limit or 0
        case BadName():
            error.kind = code.removeprefix("bad-")
        case BadCursor():
            error.cursor = details.value or ""
        case UnknownOp():
            error.op = details.value or ""
        case KeyConflict():
            error.key = details.value or ""
        case RoomRenamed():
            error.renamed_to = details.value or ""
        case NameTaken():
            error.name = details.value or ""
        case Banned():
            error.until_ms = None  # its sentence names the time
    return error
