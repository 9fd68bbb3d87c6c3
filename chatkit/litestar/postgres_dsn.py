"""What libpq takes as a connection string, as the URL of the same meaning."""

import re
from typing import Final
from urllib.parse import quote, urlencode

from litestar.exceptions import ImproperlyConfiguredException

# One parameter of `host=localhost password='it''s'`: PostgreSQL's documentation, 34.1.1.1.
_PARAMETER: Final = re.compile(r"\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)", re.DOTALL)

# How libpq itself waits and encodes: the backend has limits of its own, and speaks UTF-8.
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
    """Return a connection string as a `postgresql://` URL. Raise `ImproperlyConfiguredException` if it is none."""
    if conninfo.startswith(("postgresql://", "postgres://")):
        return conninfo
    parameters: dict[str, str] = {}
    at, end = 0, len(conninfo.rstrip())
    while at < end:
        found = _PARAMETER.match(conninfo, at)
        if found is None:
            # Not the string itself: it may hold a password.
            raise ImproperlyConfiguredException("a connection string is postgresql://…, or name=value name='a value' …")
        name, quoted, plain = found.groups()
        parameters[name] = re.sub(r"\\(.)", r"\1", plain if quoted is None else quoted, flags=re.DOTALL)
        at = found.end()
    theirs = {name: value for name, value in parameters.items() if name not in _OF_LIBPQ}
    return f"postgresql://?{urlencode(theirs, quote_via=quote)}"
