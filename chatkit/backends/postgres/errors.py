"""What PostgreSQL and its driver say, as errors of ours. Knows no statement and no connection.

What may pass is `Unavailable`, what will not is `StoreError`. Sentences name the place, never a password.
"""

import asyncpg

from chatkit.errors import BadBackendURL, ChatkitError, StoreError, Unavailable

# All that comes out of a call to the driver. ValueError: what it was given cannot be sent.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)

RETRIED = frozenset({"40001", "40P01"})  # serialization failure, deadlock: nothing was done, and now it may work
MISSING = frozenset({"42P01", "42883", "3F000"})  # table, function, schema: somebody dropped them
DUPLICATE = frozenset({"23505", "42710", "42723", "42P07"})  # row, object, function, table: somebody made the same

# By the first characters of the SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_PASSING = {
    "08": "the connection broke",
    "25006": "it cannot be written to now",
    "40": "others were in the way",
    "53100": "the disk is full",
    "53200": "there is not enough memory",
    "53300": "it has too many connections",
    "53": "it lacks resources",
    "54000": "it is over a limit of its own",  # such as the queue of NOTIFY, which one who does not listen fills
    "55P03": "others held a lock for too long",
    "57014": "it took too long",
    "57": "it is starting or shutting down",
    "58": "reading or writing failed",
}
_LASTING = {
    "28": "the user or the password is not accepted",
    "3D": "there is no such database",
    "42501": "the user may not do this",
}


def state_of(error: BaseException) -> str:
    """Return the SQLSTATE, or nothing where the server did not say one."""
    return str(getattr(error, "sqlstate", None) or "")


def has_answered(error: BaseException) -> bool:
    """Say whether the server answered with this error, and goes on with the connection."""
    state = state_of(error)
    return bool(state) and not state.startswith(("08", "57P"))


def as_ours(error: BaseException, place: str) -> ChatkitError:
    """Translate an error of the driver's."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return BadBackendURL(f"{place}: {error}")
    state = state_of(error)
    for reasons, kind in ((_PASSING, Unavailable), (_LASTING, StoreError)):
        for length in (5, 2):
            if (reason := reasons.get(state[:length])) is not None:
                return kind(f"{place}: {reason} ({_sentence(error)})")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{place} does not answer")
    if isinstance(error, OSError):
        return Unavailable(f"{place} cannot be reached: {error}")
    if isinstance(error, asyncpg.InternalClientError) or (isinstance(error, asyncpg.InterfaceError) and not state):
        return Unavailable(f"{place}: the connection broke ({error})")
    return StoreError(f"{place} cannot be used: {_sentence(error)}")


def _sentence(error: BaseException) -> str:
    """Return what the server says; not its details, which are more lines, and may hold what is stored."""
    return str(error).partition("\n")[0]
