"""What a `postgresql://` URL says. What is not ours in it is for the driver: hosts, sslmode, settings of the server's.

Nothing here touches a network.
"""

import re
from urllib.parse import SplitResult, parse_qsl, quote, urlencode

from chatkit.backends.postgres.backend import DEFAULT_CACHED_STATEMENTS, DEFAULT_POOL, DEFAULT_SCHEMA, PostgresBackend
from chatkit.errors import BadBackendURL

OURS = ("schema", "pool", "statement_cache_size")


def make_postgres(parts: SplitResult, *, make: bool = True) -> PostgresBackend:
    """Make the backend that the URL describes; raise `BadBackendURL`."""
    given = parse_qsl(parts.query, keep_blank_values=True)
    ours = _once([(name, value) for name, value in given if name in OURS])
    theirs = urlencode([(name, value) for name, value in given if name not in OURS], quote_via=quote)
    schema = ours.get("schema", DEFAULT_SCHEMA)
    if not re.fullmatch("[a-z_][a-z0-9_]{0,47}", schema):  # no more: a channel is named after it
        raise BadBackendURL(f"postgresql://…?schema= is at most 48 of a-z, 0-9 and '_', not {schema!r}")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if not all(re.fullmatch(r"(\[[^]]*\]|[^]:[]*)(:[0-9]*)?", host) for host in hosts):
        raise BadBackendURL("postgresql:// has no host and port that can be: they are as in db1:5432 or [::1]:5432")
    return PostgresBackend(
        # By hand: where there is no host, `urlunsplit` leaves out the slashes, too.
        f"postgresql://{parts.netloc}{parts.path}{theirs and '?'}{theirs}",
        place=f"postgresql://{(parts.netloc + parts.path).rpartition('@')[2]}",  # a password may hold a '/'
        schema=schema,
        make=make,
        pool=_number(ours, "pool", DEFAULT_POOL, least=1),
        cached_statements=_number(ours, "statement_cache_size", DEFAULT_CACHED_STATEMENTS, least=0),
    )


def _once(given: list[tuple[str, str]]) -> dict[str, str]:
    options = dict(given)
    for name in options:
        if [each for each, _ in given].count(name) > 1:
            raise BadBackendURL(f"postgresql:// has the option {name!r} twice")
    return options


def _number(options: dict[str, str], name: str, default: int, *, least: int) -> int:
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
        raise BadBackendURL(f"postgresql://…?{name}= is a whole number from {least} on, not {text!r}")
    return int(text)
