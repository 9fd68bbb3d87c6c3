"""Masks tokens and secrets in text that may be stored: log lines and problem details.

Keys are compared after percent-decoding, as the server reads them: `?%74oken=` also holds a token.
"""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import quote, unquote_plus

from chatkit.core.token import SECRET

MASK: Final = "…"
SECRET_KEYS: Final = ("token", "secret", "password")  # the value is masked if its key ends like this
DECODINGS: Final = 3  # a proxy in front of the server may have encoded the URL again

_PAIR: Final = re.compile(r"([^?&;\s\"'=]{1,100})=([^&\s]+)")  # the bound on the key keeps the search linear
_BEARER: Final = re.compile(r"(?i)(\bbearer[ \t]+)[^\s\"',]+")


def mask_tokens(text: str, secrets: Collection[str] = ()) -> str:
    """Return the text with bearer tokens, secrets of tokens, `secrets` and values of keys such as `token` masked."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote(secret)}:
            text = text.replace(form, MASK)
    text = SECRET.sub(rf"\g<shown>{MASK}", text)
    return _BEARER.sub(rf"\1{MASK}", _PAIR.sub(_mask_pair, text))


def _mask_pair(pair: re.Match[str]) -> str:
    key = pair[1]
    for _ in range(DECODINGS):
        key = unquote_plus(key)
    return f"{pair[1]}={MASK}" if key.strip().lower().endswith(SECRET_KEYS) else pair[0]
