"""Limits of the path and the query of an address. Litestar keeps its results for the last 1,024 of each.

Without limits, a thousand requests would make it keep 700 MiB, and each would block the event loop for 50 ms.
"""

from typing import Final

from chatkit.errors import BadRequest

MAX_PATH_CHARS: Final = 2_000  # more than the longest path of a file or of a reaction has
MAX_QUERY_BYTES: Final = 8_192  # more than a search, the position from which it continues, and a token have
MAX_PARAMETERS: Final = 32


def check_path(path: str) -> None:
    """Raise `BadRequest` for a path, without percent-encoding, that is too long."""
    if len(path) > MAX_PATH_CHARS:
        raise BadRequest(f"the path of an address has at most {MAX_PATH_CHARS} characters")


def is_long_query(query: bytes) -> bool:
    """Return whether a query is too long, or has too many parameters."""
    return len(query) > MAX_QUERY_BYTES or query.count(b"&") >= MAX_PARAMETERS


def check_query(query: bytes) -> None:
    """Raise `BadRequest` for a query that `is_long_query`."""
    if is_long_query(query):
        raise BadRequest(f"a query has at most {MAX_QUERY_BYTES} bytes and {MAX_PARAMETERS} parameters")
