"""The cookie that a browser gets in exchange for a token: its name, values and attributes. No secret is in it.

A browser sends the cookies of a host to all its ports, so the name contains the port, and the path prefix if there is
one. The value is derived from the server's secret, or from a token's digest after the token's id. So servers that share
them behind one address accept each other's cookies, and a cookie ends with its token.
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
    """Makes the cookies of one server, and reads their values. `secret` is the server's, if it has one."""

    def __init__(self, secret: str | None, path_prefix: str) -> None:
        self._prefix = path_prefix
        self.secret_value = None if secret is None else self._derive(secret)

    def token_value(self, token_id: str, digest: str) -> str:
        """Return the value for the token with an id, given the digest of the secret that was presented."""
        return f"{token_id}.{self._derive(digest)}"

    def header(self, value: str, port: int, *, is_secure: bool) -> str:
        """Return the `Set-Cookie` header for a browser that presented a secret at this port."""
        return self._header(value, port, AGE_S, is_secure=is_secure)

    def removal(self, port: int, *, is_secure: bool) -> str:
        """Return the `Set-Cookie` header that removes the cookie."""
        return self._header("", port, 0, is_secure=is_secure)

    def values_in(self, header: str) -> Iterator[str]:
        """Yield the values of a `Cookie` header that may be this server's, whatever port their names contain."""
        for value in cookie_values(header.encode("latin-1", "replace"), NAME.encode()):
            yield value.decode("latin-1")

    def is_of_secret(self, value: str) -> bool:
        """Return whether a cookie's value is that of the server's secret."""
        return self.secret_value is not None and is_equal(value, self.secret_value)

    def _derive(self, key: str) -> str:
        return hmac.digest(key.encode(), LABEL + self._prefix.encode(), "sha256").hex()

    def _header(self, value: str, port: int, age_s: int, *, is_secure: bool) -> str:
        secure = "; Secure" if is_secure else ""
        path = self._prefix or "/"
        return f"{self._name(port)}={value}; Path={path}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"

    def _name(self, port: int) -> str:
        return f"{NAME}{port}" + re.sub(r"[^A-Za-z0-9]+", "_", self._prefix)


def is_equal(one: str, other: str) -> bool:
    """Compare two texts in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(errors="surrogatepass"), other.encode(errors="surrogatepass"))


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
