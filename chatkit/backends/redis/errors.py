"""Translates errors of Redis and its driver into chatkit's errors. No message contains a password."""

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the driver's
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the driver's
    TryAgainError,
)

from chatkit.errors import ChatkitError, StoreError, Unavailable, system_reason

# Prefixes of answers that report a temporary condition; redis-py has no classes for these.
_TEMPORARY = ("MISCONF", "BUSY", "NOREPLICAS", "UNBLOCKED", "MASTERDOWN", "LOADING")


def to_chatkit_error(error: RedisError | OSError, where: str) -> ChatkitError:
    """Return the equivalent error of chatkit's; `where` is the server's host and port."""
    kind: type[ChatkitError] = StoreError
    words = f"rejected the command: {error}"
    match error:
        case AuthenticationError() | AuthorizationError():
            words = "rejected the login: the user or password is wrong or missing"
        case NoPermissionError():
            words = f"denies the user a permission that chatkit needs: {error}"
        case AskError() | ClusterDownError() | TryAgainError():
            kind, words = Unavailable, f"is in a cluster that does not serve all rooms now: {error}"
        case ReadOnlyError():
            kind, words = Unavailable, "is a replica now and accepts no messages"
        case OutOfMemoryError():
            kind, words = Unavailable, f"is full: {error}"
        case ConnectionError() | TimeoutError() | OSError():
            kind, words = Unavailable, f"does not answer: {_reason_of(error)}"
        case ResponseError() if str(error).startswith(_TEMPORARY):
            kind, words = Unavailable, f"cannot run the command now: {error}"
    return kind(f"Redis at {where} {words}")


def _reason_of(error: BaseException) -> str:
    """Return why a connection failed. The driver's own sentence repeats the address."""
    cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__
    reason = system_reason(cause) if isinstance(cause, OSError) and cause.errno else str(error)
    return reason or "time-out"
