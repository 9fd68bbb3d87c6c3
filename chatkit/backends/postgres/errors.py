"""Errors of PostgreSQL and its driver as errors of chatkit. Knows nothing of statements and connections.

An error is `Unavailable` if a retry may succeed, else `StoreError`. Sentences name the database, never a password.
"""

import asyncpg

from chatkit.errors import BadBackendURL, ChatkitError, StoreError, Unavailable, system_reason

# The errors that a call of the driver raises. ValueError: an argument cannot be encoded.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)

RETRIED = frozenset({"40001", "40P01"})  # serialization failure, deadlock: nothing was done, and a retry may succeed
MISSING = frozenset({"42P01", "42883", "3F000"})  # table, function, schema: they were dropped
DUPLICATE = frozenset({"23505", "42710", "42723", "42P07"})  # row, object, function, table: another session created it

# By the first characters of the SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_TEMPORARY = {
    "08": "the connection broke",
    "25006": "it is read-only now",
    "40": "concurrent transactions conflicted",
    "53100": "the disk is full",
    "53200": "there is not enough memory",
    "53300": "it has too many connections",
    "53": "it lacks resources",
    "54000": "it exceeded one of its limits",  # such as the queue of NOTIFY, which a stalled listener fills
    "55P03": "another session held a lock for too long",
    "57014": "it took too long",
    "57": "it is starting or shutting down",
    "58": "reading or writing failed",
}
_PERMANENT = {
    "28": "the user or the password is not accepted",
    "3D": "there is no such database",
    "42501": "the user has no permission for this",
}


def state_of(error: BaseException) -> str:
    """Return the SQLSTATE, or an empty string for an error that the server did not send."""
    return str(getattr(error, "sqlstate", None) or "")


def has_answered(error: BaseException) -> bool:
    """Return whether the server sent this error and keeps the connection open."""
    state = state_of(error)
    return bool(state) and not state.startswith(("08", "57P"))


def to_chatkit_error(error: BaseException, display_url: str) -> ChatkitError:
    """Return an error of the driver as an error of chatkit."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return BadBackendURL(f"{display_url}: {error}")
    state = state_of(error)
    for reasons, kind in ((_TEMPORARY, Unavailable), (_PERMANENT, StoreError)):
        for length in (5, 2):
            if (reason := reasons.get(state[:length])) is not None:
                return kind(f"{display_url}: {reason} ({_sentence(error)})")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{display_url} does not answer")
    if isinstance(error, OSError):
        return Unavailable(f"{display_url} cannot be reached: {system_reason(error)}")
    if isinstance(error, asyncpg.InternalClientError) or (isinstance(error, asyncpg.InterfaceError) and not state):
        return Unavailable(f"{display_url}: the connection broke ({error})")
    return StoreError(f"{display_url} cannot be used: {_sentence(error)}")


def _sentence(error: BaseException) -> str:
    """Return the server's message without its details, which have more lines and may contain stored data."""
    return str(error).partition("\n")[0]
