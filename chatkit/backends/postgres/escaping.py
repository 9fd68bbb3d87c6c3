"""Escaping of U+0000, the only character that PostgreSQL's `text` cannot hold, and the folding of text for searches.

U+0000 and U+0001 to U+0003 are each written as a triple of U+0001 to U+0003. An escaped search is found in an escaped
text exactly if the search is found in the text: no match can begin or end within a triple.
"""

import re

from chatkit.core.text import fold as fold_text

PREFILTER_CHARS = 100  # of a search, for the index: more exclude no more rows, and take longer

# Escaping replaces in whole passes over the text, so that a text of nothing but escapes is not a thousand times slower.
# In between, each of the four characters is a byte that does not occur in UTF-8, so that no code is escaped again.
_CODES = (
    (b"\0", b"\xfc", b"\1\2\2"),
    (b"\2", b"\xfd", b"\1\3\2"),
    (b"\3", b"\xfe", b"\1\3\3"),
    (b"\1", b"\xff", b"\1\2\3"),  # last, because every triple contains it until it is unescaped
)
_to_escape = re.compile("[\0-\3]")


def escape(text: str) -> str:
    """Return the text in the form in which PostgreSQL can store it."""
    if not _to_escape.search(text):
        return text
    written = text.encode("utf-8", "surrogatepass")
    for char, mark, _ in _CODES:
        written = written.replace(char, mark)
    for _, mark, code in _CODES:
        written = written.replace(mark, code)
    return written.decode("utf-8", "surrogatepass")


def unescape(text: str) -> str:
    """Return the text from its escaped form."""
    if "\1" not in text:
        return text
    for char, _, code in _CODES:
        text = text.replace(code.decode(), char.decode())
    return text


def fold(body: str) -> str | None:
    """Return the folded body, escaped, or None if it is ASCII, which the database folds itself."""
    return None if body.isascii() else escape(fold_text(body))


def prefilter(search: str) -> str:
    """Return a LIKE pattern for the index, which every matching body matches."""
    return "%" + re.sub(r"([%_\\])", r"\\\1", search[:PREFILTER_CHARS]) + "%"
