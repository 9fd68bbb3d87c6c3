"""Mentions: the names after an `@` in a body, computed when a message is committed."""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from chatkit.core.access import is_system_room
from chatkit.core.access_table import AccessTable
from chatkit.core.message_state import Act
from chatkit.core.model import MAX_SENDER_CHARS, Draft
from chatkit.core.roster import Roster
from chatkit.core.text import fold

MAX_MENTIONS: Final = 32  # names that are looked for in one message: this bounds the work for a body of `@`

_AT: Final = re.compile(r"(?<!\w)@(?=\S)")  # not the one in an address of electronic mail


def with_mentions(draft: Draft, access: AccessTable, roster: Roster) -> Draft:
    """Return a draft with the names that it mentions: those that tokens hold, and those of members of its room."""
    if is_system_room(draft.room) or draft.act not in {None, Act.EDIT}:
        return draft

    def known_name(text: str) -> str | None:
        if roster.is_member(draft.room, text):
            return text
        holder = access.holder_of(text)
        return holder if holder is not None and fold(holder) == fold(text) else None

    mentions = find_mentions(draft.body, known_name)
    return replace(draft, mentions=mentions) if mentions else draft


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
