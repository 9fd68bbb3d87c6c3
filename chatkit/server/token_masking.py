"""Replaces tokens and secrets in text that somebody may keep: log lines and problem details.

A key is compared as the server reads it, that is after percent-decoding: `?%74oken=` is a token to the server, too.
"""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import quote, unquote_plus

MASK: Final = "…"
SECRET_KEYS: Final = ("token", "secret", "password")  # how the keys end whose values are masked
DECODINGS: Final = 3  # a proxy before the server may have encoded the address again

_PAIR: Final = re.compile(r"([^?&;\s\"'=]{1,100})=([^&\s]+)")  # the bound on the key keeps the search linear
_BEARER: Final = re.compile(r"(?i)(\bbearer[ \t]+)[^\s\"',]+")


def mask_tokens(text: str, secrets: Collection[str] = ()) -> str:
    """Return the text without the values of keys such as `token`, without bearer tokens and without `secrets`."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote(secret)}:
            text = text.replace(form, MASK)
    return _BEARER.sub(rf"\1{MASK}", _PAIR.sub(_mask_pair, text))


def _mask_pair(pair: re.Match[str]) -> str:
    key = pair[1]
    for _ in range(DECODINGS):
        key = unquote_plus(key)
    return f"{pair[1]}={MASK}" if key.strip().lower().endswith(SECRET_KEYS) else pair[0]
