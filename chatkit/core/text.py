"""Text from clients: normalisation, case-insensitive comparison, and detection of invisible characters.

The time of every function is linear in the length of its input, for any input.
"""

import re
import unicodedata
from typing import Final

from chatkit.errors import BadRequest

MAX_SEARCH_CHARS: Final = 200  # a sentence; in repetitive bodies, the cost of a search grows with its length

# Normalisation sorts each run of combining marks, in a time that grows with the square of the run's length.
# Text in any language has runs of a few marks; the Unicode Stream-Safe Text Format (UAX 15) allows 30.
_PIECE_CHARS: Final = 64
_MAX_BACK_CHARS: Final = 32

# The names of rooms and senders are trimmed by this set, here and in JavaScript (static/validation.js).
BLANKS: Final = (
    "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004"
    "\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

# Default_Ignorable_Code_Point of Unicode 16, and characters whose glyph is empty: the Duployan letter selector, the
# object replacement character, the Khitan filler, the blank Egyptian hieroglyphs, the null notehead, Braille's blank.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\ufffc\U00013441\U00013442\U00016fe4\U0001bc9d\U0001bca0-\U0001bca3"
    "\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def has_invisible(text: str) -> bool:
    """Return whether the text holds a character that cannot be seen."""
    return _INVISIBLE.search(text) is not None


def strip_invisible(text: str) -> str:
    """Return the text without the characters that cannot be seen."""
    return _INVISIBLE.sub("", text)


def normalize(text: str) -> str:
    """Return the text in NFC.

    A run of more than 32 combining marks, which no language has, may be normalised only partly.
    """
    if text.isascii():
        return text
    if len(text) <= _PIECE_CHARS:
        return unicodedata.normalize("NFC", text)
    pieces = []
    start = 0
    while start < len(text):
        stop = _cut(text, start)
        pieces.append(unicodedata.normalize("NFC", text[start:stop]))
        start = stop
    return "".join(pieces)


def _cut(text: str, start: int) -> int:
    """Return the end of the piece that starts at `start`: the next character does not combine with the piece."""
    stop = start + _PIECE_CHARS
    if stop >= len(text):
        return len(text)
    for at in range(stop, stop - _MAX_BACK_CHARS, -1):
        if not _may_combine(text[at]):
            return at
    return stop


def _may_combine(char: str) -> bool:
    # Marks combine with the letter before them; so do the vowels and final consonants of Hangul.
    return unicodedata.category(char)[0] == "M" or "\u1160" <= char <= "\u11ff"


def fold(text: str) -> str:
    """Return the form in which texts are compared, regardless of case and of composed or decomposed letters."""
    return text.casefold() if text.isascii() else normalize(text).casefold()


def check_search(text: str) -> str:
    """Return the text of a search. Raise `BadRequest` if it is too long."""
    if len(text) > MAX_SEARCH_CHARS:
        raise BadRequest(f"a search is at most {MAX_SEARCH_CHARS} characters")
    return text
