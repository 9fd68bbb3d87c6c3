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

_AT: Final = re.compile(r"(?<!\w)@(?=\S)")  # not the one in an address of electronic mail

MAX_MENTIONS: Final = 32  # names that are looked for in one message: this bounds the work for a body of `@`
MAX_EXAMINED: Final = 32  # members of a room whose names' beginnings are looked for before anything else
MAX_ROOMS: Final = 1_000  # of which the beginnings are kept


class MentionFinder:
    """Finds whom drafts mention: names that tokens hold, and members of the draft's room.

    Most messages with an `@` mention nobody. For each room, the finder keeps with what a mention can begin, such as
    `@a`, until a name comes or goes.
    """

    def __init__(self, access: AccessTable, roster: Roster) -> None:
        self._access = access
        self._roster = roster
        self._openings: dict[str, tuple[str, ...]] = {}  # by room
        self._generation = 0  # of the names from which they were made

    def add_to(self, draft: Draft) -> Draft:
        """Return a draft with the names that its body, which contains an `@`, mentions."""
        generation = self._access.generation + self._roster.generation  # both only grow
        if generation != self._generation or len(self._openings) > MAX_ROOMS:
            self._openings.clear()
            self._generation = generation
        openings = self._openings.get(draft.room)
        if openings is None:
            openings = self._openings[draft.room] = self._find_openings(draft.room)
        body = draft.body
        for opening in openings:
            if opening in body:
                return self._search(draft)
        return draft

    def _find_openings(self, room: str) -> tuple[str, ...]:
        members = self._roster.names(room)
        if len(members) > MAX_EXAMINED:
            return ("@",)
        return tuple(f"@{char}" for char in self._access.held_beginnings.union(name[0] for name in members))

    def _search(self, draft: Draft) -> Draft:
        if is_system_room(draft.room) or draft.act not in {None, Act.EDIT}:
            return draft
        held, members = self._access.held_names, self._roster.names(draft.room)

        def known_name(text: str) -> str | None:
            return text if text in members else held.get(fold(text)) if held else None

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
        if (name := known_name(text[:end])) is not None and not _continues(text, end):
            return name
    return None


def _continues(text: str, at: int) -> bool:
    """Return whether the word before a position goes on there."""
    rest = text[at : at + 2]
    if rest.startswith("-"):
        return rest[1:].isalnum()
    return rest[:1].isalnum() or rest.startswith("_") or (rest != "" and unicodedata.category(rest[0])[0] == "M")
