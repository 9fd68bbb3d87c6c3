"""What goes wrong with Redis, as our own errors. No sentence here holds a password."""

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

from chatkit.errors import ChatkitError, StoreError, Unavailable

# What a server answers while it cannot do now what it can do at other times; redis-py has no classes for these.
_PASSING = ("MISCONF", "BUSY", "NOREPLICAS", "UNBLOCKED", "MASTERDOWN", "LOADING")


def as_ours(error: RedisError | OSError, where: str) -> ChatkitError:
    """Return the error of ours that says the same; `where` is the server's host and port."""
    kind: type[ChatkitError] = StoreError
    words = f"cannot do that: {error}"
    match error:
        case AuthenticationError() | AuthorizationError():
            words = "does not let us in: user or password is wrong, or one is needed"
        case NoPermissionError():
            words = f"does not allow its user what chatkit needs: {error}"
        case AskError() | ClusterDownError() | TryAgainError():
            kind, words = Unavailable, f"is in a cluster that does not serve all rooms now: {error}"
        case ReadOnlyError():
            kind, words = Unavailable, "is a replica now, and takes no messages"
        case OutOfMemoryError():
            kind, words = Unavailable, f"is full: {error}"
        case ConnectionError() | TimeoutError() | OSError():
            kind, words = Unavailable, f"does not answer: {str(error) or 'it takes too long'}"
        case ResponseError() if str(error).startswith(_PASSING):
            kind, words = Unavailable, f"cannot do that now: {error}"
    return kind(f"Redis at {where} {words}")
