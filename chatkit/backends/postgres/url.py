"""`postgresql://` URLs. Options that are not chatkit's go to the driver: hosts, sslmode, settings of the server.

Nothing here touches a network.
"""

import re
from urllib.parse import SplitResult, parse_qsl, quote, urlencode

from chatkit.backends.postgres.backend import DEFAULT_CACHED_STATEMENTS, DEFAULT_POOL, DEFAULT_SCHEMA, PostgresBackend
from chatkit.errors import BadBackendURL

OPTIONS = ("schema", "pool", "statement_cache_size")


def make_postgres(parts: SplitResult, *, make: bool = True) -> PostgresBackend:
    """Return the backend that the URL names; raise `BadBackendURL`."""
    given = parse_qsl(parts.query, keep_blank_values=True)
    options = _check_unique([(name, value) for name, value in given if name in OPTIONS])
    driver_options = urlencode([(name, value) for name, value in given if name not in OPTIONS], quote_via=quote)
    schema = options.get("schema", DEFAULT_SCHEMA)
    if not re.fullmatch("[a-z_][a-z0-9_]{0,47}", schema):  # the name of the channel contains it
        raise BadBackendURL(f"postgresql://…?schema= must be at most 48 of a-z, 0-9 and '_', not {schema!r}")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if not all(re.fullmatch(r"(\[[^]]*\]|[^]:[]*)(:[0-9]*)?", host) for host in hosts):
        raise BadBackendURL("postgresql:// has no valid host and port: write them as in db1:5432 or [::1]:5432")
    return PostgresBackend(
        # Not by `urlunsplit`: without a host it would omit the slashes.
        f"postgresql://{parts.netloc}{parts.path}{driver_options and '?'}{driver_options}",
        display_url=f"postgresql://{(parts.netloc + parts.path).rpartition('@')[2]}",  # a password may hold a '/'
        schema=schema,
        make=make,
        pool=_number(options, "pool", DEFAULT_POOL, least=1),
        cached_statements=_number(options, "statement_cache_size", DEFAULT_CACHED_STATEMENTS, least=0),
    )


def _check_unique(given: list[tuple[str, str]]) -> dict[str, str]:
    options = dict(given)
    for name in options:
        if [each for each, _ in given].count(name) > 1:
            raise BadBackendURL(f"postgresql:// has the option {name!r} more than once")
    return options


def _number(options: dict[str, str], name: str, default: int, *, least: int) -> int:
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
        raise BadBackendURL(f"postgresql://…?{name}= must be a whole number of at least {least}, not {text!r}")
    return int(text)
