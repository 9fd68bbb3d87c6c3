"""The cookie that a browser gets in exchange for the token: its name, its value and its attributes. It holds no secret.

Cookies of one host are shared by all its ports and paths, so the name contains the port, and the prefix where there is
one. The value is derived from the secret: servers that share a secret behind one address accept each other's cookies.
"""

import hmac
import re
from collections.abc import Iterator
from typing import Final

NAME: Final = "chatkit_"  # every name begins with it; the port and the prefix follow
AGE_S: Final = 30 * 24 * 3600  # a month: who visits less often enters by the link again
MAX_COOKIES: Final = 32  # of ours in one request: more ports of one host than anybody serves
LABEL: Final = b"chatkit browser session "  # separates this value from whatever else the secret may key


class SessionCookie:
    """Issues and recognises the cookie of one server."""

    def __init__(self, secret: str, path_prefix: str) -> None:
        self._prefix = path_prefix
        self.value = hmac.digest(secret.encode(), LABEL + path_prefix.encode(), "sha256").hex()

    def header(self, port: int, *, is_secure: bool) -> str:
        """Return the `Set-Cookie` header for a browser that presented the token at this port."""
        secure = "; Secure" if is_secure else ""
        path = self._prefix or "/"
        return f"{self._name(port)}={self.value}; Path={path}; Max-Age={AGE_S}; HttpOnly; SameSite=Strict{secure}"

    def is_in(self, header: bytes) -> bool:
        """Return whether a `Cookie` header holds this server's value, under whichever port it was issued."""
        ours = self.value.encode()
        return any(hmac.compare_digest(value, ours) for value in cookie_values(header, NAME.encode()))

    def _name(self, port: int) -> str:
        return f"{NAME}{port}" + re.sub(r"[^A-Za-z0-9]+", "_", self._prefix)


def cookie_values(header: bytes, prefix: bytes) -> Iterator[bytes]:
    """Yield the values of the first cookies whose names begin with `prefix`.

    One pass without any decoding: the cookies of other programs need not follow the rules, and may be large.
    """
    n_found = 0
    for pair in header.split(b";"):
        name, separator, value = pair.strip().partition(b"=")
        if separator and name.startswith(prefix):
            yield value
            n_found += 1
            if n_found == MAX_COOKIES:
                return
