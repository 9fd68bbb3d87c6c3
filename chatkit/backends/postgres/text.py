"""Text as PostgreSQL can hold it, and how it is searched. Its `text` holds every character but U+0000.

U+0000 and the three characters that stand for it are each written as one of these and two of the others. What is found
in a text so written is what is found in the text: no such triple can be met halfway.
"""

import re

ESCAPE, ZERO, ONE = "\1", "\2", "\3"
SIEVE_CHARS = 100  # of a search, for the index: more choose no better, and take longer

_CODES = {"\0": ESCAPE + ZERO + ZERO, ESCAPE: ESCAPE + ZERO + ONE, ZERO: ESCAPE + ONE + ZERO, ONE: ESCAPE + ONE + ONE}
_CHARS = {code: char for char, code in _CODES.items()}
_escaped = re.compile(f"{ESCAPE}[{ZERO}{ONE}]{{2}}")
_to_escape = re.compile("[\0-\3]")


def escape(text: str) -> str:
    """Write a text so that PostgreSQL can hold it."""
    return _to_escape.sub(_code, text) if _to_escape.search(text) else text


def unescape(text: str) -> str:
    """Return the text that `escape` was given."""
    return _escaped.sub(_char, text) if ESCAPE in text else text


def fold(body: str) -> str | None:
    """Return the body's casefold, escaped; None where it is ASCII, which the database folds by itself."""
    return None if body.isascii() else escape(body.casefold())


def sieve(search: str) -> str:
    """Return a LIKE pattern, for the index, that lets through whatever holds the text."""
    return "%" + re.sub(r"([%_\\])", r"\\\1", search[:SIEVE_CHARS]) + "%"


def _code(found: re.Match[str]) -> str:
    return _CODES[found[0]]


def _char(found: re.Match[str]) -> str:
    return _CHARS[found[0]]
