"""Mentions: the names after an `@` in a body, computed when a message is committed."""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from chatkit.core.model import MAX_SENDER_CHARS

MAX_MENTIONS: Final = 32  # names that are looked for in one message: this bounds the work for a body of `@`

_AT: Final = re.compile(r"(?<!\w)@(?=\S)")  # not the one in an address of electronic mail


def find_mentions(body: str, known_name: Callable[[str], str | None]) -> tuple[str, ...]:
    """Return the names that a body mentions, each once, in their order.

    After an `@`, the longest text that is a name counts, if a word ends there: `@release-bot` never mentions `release`.
    `known_name` returns the name that a text stands for, or None if it is no name.
    """
    if "@" not in body:
        return ()
    found: dict[str, None] = {}
    for n, at in enumerate(_AT.finditer(body)):
        if n == MAX_MENTIONS:
            break
        name = _longest_name(body[at.end() : at.end() + MAX_SENDER_CHARS + 2], known_name)
        if name is not None:
            found[name] = None
    return tuple(found)


def _longest_name(text: str, known_name: Callable[[str], str | None]) -> str | None:
    for end in range(min(len(text), MAX_SENDER_CHARS), 0, -1):
        if not _continues(text, end) and (name := known_name(text[:end])) is not None:
            return name
    return None


def _continues(text: str, at: int) -> bool:
    """Return whether the word before a position goes on there."""
    rest = text[at : at + 2]
    if rest.startswith("-"):
        return rest[1:].isalnum()
    return rest[:1].isalnum() or rest.startswith("_") or (rest != "" and unicodedata.category(rest[0])[0] == "M")
