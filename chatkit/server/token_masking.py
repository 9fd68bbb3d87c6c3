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
HOOKS: Final = "hooks"  # the part of a path after which a token follows
MAX_SEGMENT_CHARS: Final = 200  # more than `HOOKS` has, however it is encoded
DECODINGS: Final = 3  # a proxy in front of the server may have encoded the URL again

_PAIR: Final = re.compile(r"([^?&;\s\"'=]{1,100})=([^&\s]+)")  # the bound on the key keeps the search linear
_SEGMENT: Final = re.compile(r"[^?&;\s\"']+")  # of a path, at the beginning of what follows a slash
_TOKEN: Final = re.compile(rf"{SECRET.pattern}|ck_[a-z0-9]{{8,12}}_{MASK}")  # also one that is masked already
_BEARER: Final = re.compile(r"(?i)(\bbearer[ \t]+)[^\s\"',]+")


def mask_tokens(text: str, secrets: Collection[str] = ()) -> str:
    """Return the text with bearer tokens, secrets of tokens, `secrets` and values of keys such as `token` masked.

    What follows `/hooks/` in a path is masked, too: it may be a token that was copied incompletely.
    """
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote(secret)}:
            text = text.replace(form, MASK)
    text = SECRET.sub(rf"\g<shown>{MASK}", _mask_hooks(text))
    return _BEARER.sub(rf"\1{MASK}", _PAIR.sub(_mask_pair, text))


def _mask_hooks(text: str) -> str:
    """Mask what follows `/hooks/`, except for a whole token, of which only the secret has to be masked."""
    if HOOKS not in text and "%" not in text:
        return text
    parts = text.split("/")
    for index in range(1, len(parts) - 1):
        if len(parts[index]) <= MAX_SEGMENT_CHARS and _decoded(parts[index]) == HOOKS:
            segment = _SEGMENT.match(parts[index + 1])
            if segment and not _TOKEN.fullmatch(segment[0]):
                parts[index + 1] = MASK + parts[index + 1][segment.end() :]
    return "/".join(parts)


def _mask_pair(pair: re.Match[str]) -> str:
    return f"{pair[1]}={MASK}" if _decoded(pair[1]).strip().lower().endswith(SECRET_KEYS) else pair[0]


def _decoded(key: str) -> str:
    for _ in range(DECODINGS):
        key = unquote_plus(key)
    return key
