"""The cookie that a browser gets in exchange for the token: its name, value and attributes. The token is not in it.

A browser sends the cookies of a host to all its ports, so the name contains the port, and the path prefix if there is
one. The value is derived from the secret: servers that share a secret behind one address accept each other's cookies.
"""

import hmac
import re
from collections.abc import Iterator
from typing import Final

NAME: Final = "chatkit_"  # the start of every name; the port and the prefix follow
AGE_S: Final = 30 * 24 * 3600  # a month; a person who visits less often has to enter the token again
MAX_COOKIES: Final = 32  # with our prefix in one request: more than one host has servers
LABEL: Final = b"chatkit browser session "  # separates this value from other uses of the secret as a key


class SessionCookie:
    """Makes and checks the cookie of one server."""

    def __init__(self, secret: str, path_prefix: str) -> None:
        self._prefix = path_prefix
        self.value = hmac.digest(secret.encode(), LABEL + path_prefix.encode(), "sha256").hex()

    def header(self, port: int, *, is_secure: bool) -> str:
        """Return the `Set-Cookie` header for a browser that presented the token at this port."""
        secure = "; Secure" if is_secure else ""
        path = self._prefix or "/"
        return f"{self._name(port)}={self.value}; Path={path}; Max-Age={AGE_S}; HttpOnly; SameSite=Strict{secure}"

    def is_in(self, header: bytes) -> bool:
        """Return whether a `Cookie` header holds this server's value, whatever port its name contains."""
        ours = self.value.encode()
        return any(hmac.compare_digest(value, ours) for value in cookie_values(header, NAME.encode()))

    def _name(self, port: int) -> str:
        return f"{NAME}{port}" + re.sub(r"[^A-Za-z0-9]+", "_", self._prefix)


def cookie_values(header: bytes, prefix: bytes) -> Iterator[bytes]:
    """Yield the values of the cookies whose names begin with `prefix`, at most `MAX_COOKIES`.

    This is one pass without decoding, because other programs' cookies may break the rules and may be large.
    """
    n_found = 0
    for pair in header.split(b";"):
        name, separator, value = pair.strip().partition(b"=")
        if separator and name.startswith(prefix):
            yield value
            n_found += 1
            if n_found == MAX_COOKIES:
                return
