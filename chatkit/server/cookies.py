"""The one cookie that a server asks for, found in a `Cookie` header (RFC 6265 section 4.2) in linear time.

`http.cookies`, which frameworks use too, takes a time that grows with the square of a quoted value on some versions of
Python that this package allows. It is never called with what a client sent.
"""

import re
from typing import Final

MAX_HEADER_CHARS: Final = 16_384  # what a whole head may hold
MAX_VALUE_CHARS: Final = 4_096  # RFC 6265 section 6.1: what a browser keeps of one cookie

# Servers quote a value as http.cookies does: a backslash before a quote or itself, or before three octal digits.
_ESCAPED: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)


def find_cookie(header: str | None, name: str) -> str | None:
    """Return the value of the first cookie of that name; None if the header holds none, or is too long."""
    if not header or len(header) > MAX_HEADER_CHARS:
        return None
    wanted = f"{name}="
    for pair in header.split(";"):
        found = pair.strip()
        if found.startswith(wanted):
            value = found[len(wanted) :].strip()
            return _unquote(value) if len(value) <= MAX_VALUE_CHARS else None
    return None


def _unquote(value: str) -> str:
    if len(value) < 2 or not (value[0] == value[-1] == '"'):
        return value
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])
