"""Text as PostgreSQL can hold it, and how it is searched. Its `text` holds every character but U+0000.

U+0000 and the three characters that stand for it are each written as one of these and two of the others. What is found
in a text so written is what is found in the text: no such triple can be met halfway.
"""

import re

from chatkit.core.text import fold as fold_text

SIEVE_CHARS = 100  # of a search, for the index: more choose no better, and take longer

# By whole passes over the text: what is all escapes must not take a thousand times as long as what has none. On the way
# each of the four is a byte that UTF-8 does not have, so that what is written is not escaped again.
_CODES = (
    (b"\0", b"\xfc", b"\1\2\2"),
    (b"\2", b"\xfd", b"\1\3\2"),
    (b"\3", b"\xfe", b"\1\3\3"),
    (b"\1", b"\xff", b"\1\2\3"),  # the last: as long as none is read back, each begins a triple
)
_to_escape = re.compile("[\0-\3]")


def escape(text: str) -> str:
    """Write a text so that PostgreSQL can hold it."""
    if not _to_escape.search(text):
        return text
    written = text.encode("utf-8", "surrogatepass")
    for char, mark, _ in _CODES:
        written = written.replace(char, mark)
    for _, mark, code in _CODES:
        written = written.replace(mark, code)
    return written.decode("utf-8", "surrogatepass")


def unescape(text: str) -> str:
    """Return the text that `escape` was given."""
    if "\1" not in text:
        return text
    for char, _, code in _CODES:
        text = text.replace(code.decode(), char.decode())
    return text


def fold(body: str) -> str | None:
    """Return the body's folded form, escaped; None where it is ASCII, which the database folds by itself."""
    return None if body.isascii() else escape(fold_text(body))


def sieve(search: str) -> str:
    """Return a LIKE pattern, for the index, that lets through whatever holds the text."""
    return "%" + re.sub(r"([%_\\])", r"\\\1", search[:SIEVE_CHARS]) + "%"
