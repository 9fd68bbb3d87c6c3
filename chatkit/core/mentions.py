"""Mentions: the names after an `@` in a body, computed when a message is committed."""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from chatkit.core.access import is_system_room
from chatkit.core.access_table import AccessTable
from chatkit.core.message_state import Act
from chatkit.core.model import MAX_SENDER_CHARS, Draft
from chatkit.core.roster import Roster
from chatkit.core.text import fold

MAX_MENTIONS: Final = 32  # names that are looked for in one message: this bounds the work for a body of `@`

MAX_EXAMINED: Final = 32  # members of a room whose names' first characters are looked at


def with_mentions(draft: Draft, access: AccessTable, roster: Roster) -> Draft:
    """Return a draft with the names that it mentions: those that tokens hold, and those of members of its room."""
    held, members = access.held_names, roster.names(draft.room)
    if len(members) > MAX_EXAMINED:
        beginnings: frozenset[str] = frozenset()
    else:
        beginnings = access.held_beginnings.union([name[0] for name in members])
        body = draft.body
        if not [opening for opening in _openings(beginnings) if opening in body]:
            return draft

    def known_name(text: str) -> str | None:
        if text in members:
            return text
        return held.get(fold(text)) if held else None

    if is_system_room(draft.room) or draft.act not in {None, Act.EDIT}:
        return draft
    mentions = find_mentions(draft.body, known_name, beginnings)
    return replace(draft, mentions=mentions) if mentions else draft


def find_mentions(
    body: str, known_name: Callable[[str], str | None], beginnings: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Return the names that a body mentions, each once, in their order.

    After an `@`, the longest text that is a name counts, if a word ends there: `@release-bot` never mentions `release`.
    `known_name` returns the name that a text stands for, or None if it is no name. `beginnings` are the characters with
    which a name may begin; empty if they are not known.
    """
    if "@" not in body:
        return ()
    found: dict[str, None] = {}
    for n, at in enumerate(_at_before(beginnings).finditer(body)):
        if n == MAX_MENTIONS:
            break
        name = _longest_name(body[at.end() : at.end() + MAX_SENDER_CHARS + 2], known_name)
        if name is not None:
            found[name] = None
    return tuple(found)


@lru_cache(maxsize=64)
def _openings(beginnings: frozenset[str]) -> tuple[str, ...]:
    """Return the texts with which a mention may begin."""
    return tuple(f"@{char}" for char in beginnings)


@lru_cache(maxsize=64)
def _at_before(beginnings: frozenset[str]) -> re.Pattern[str]:
    """Return the pattern of an `@` before one of these characters, or before any that can be seen."""
    following = f"[{''.join(map(re.escape, sorted(beginnings)))}]" if beginnings else r"\S"
    return re.compile(rf"(?<!\w)@(?={following})")  # not the one in an address of electronic mail


def _longest_name(text: str, known_name: Callable[[str], str | None]) -> str | None:
    for end in range(min(len(text), MAX_SENDER_CHARS), 0, -1):
        if (name := known_name(text[:end])) is not None and not _continues(text, end):
            return name
    return None


def _continues(text: str, at: int) -> bool:
    """Return whether the word before a position goes on there."""
    rest = text[at : at + 2]
    if rest.startswith("-"):
        return rest[1:].isalnum()
    return rest[:1].isalnum() or rest.startswith("_") or (rest != "" and unicodedata.category(rest[0])[0] == "M")
