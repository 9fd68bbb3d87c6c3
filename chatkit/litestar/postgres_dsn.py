"""Converts a connection string of libpq into an equivalent URL."""

import re
from typing import Final
from urllib.parse import quote, urlencode

from litestar.exceptions import ImproperlyConfiguredException

# One parameter of `host=localhost password='it''s'`: PostgreSQL's documentation, 34.1.1.1.
_PARAMETER: Final = re.compile(r"\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)", re.DOTALL)

# Options of libpq's own time-outs and encoding: the backend has its own time-outs and always uses UTF-8.
_OF_LIBPQ: Final = frozenset(
    {
        "connect_timeout",
        "client_encoding",
        "fallback_application_name",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    }
)


def url_of(conninfo: str) -> str:
    """Return a connection string as a `postgresql://` URL. Raise `ImproperlyConfiguredException` if it is invalid."""
    if conninfo.startswith(("postgresql://", "postgres://")):
        return conninfo
    parameters: dict[str, str] = {}
    at, end = 0, len(conninfo.rstrip())
    while at < end:
        found = _PARAMETER.match(conninfo, at)
        if found is None:
            # The message does not contain the string, which may contain a password.
            raise ImproperlyConfiguredException(
                "a connection string must be postgresql://…, or name=value name='a value' …"
            )
        name, quoted, plain = found.groups()
        parameters[name] = re.sub(r"\\(.)", r"\1", plain if quoted is None else quoted, flags=re.DOTALL)
        at = found.end()
    driver_options = {name: value for name, value in parameters.items() if name not in _OF_LIBPQ}
    return f"postgresql://?{urlencode(driver_options, quote_via=quote)}"
