"""Mentions: the names after an `@` in a body, computed when a message is committed."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from msgspec.structs import replace

from chatkit.core.access import is_system_room
from chatkit.core.access_table import AccessTable
from chatkit.core.message_state import Act
from chatkit.core.model import MAX_DECOMPOSED, MAX_SENDER_CHARS, Draft
from chatkit.core.roster import Roster
from chatkit.core.text import normalize

MAX_MENTIONS: Final = 32  # signs `@` of one message behind which a name is looked for: this bounds the work
MAX_EXAMINED: Final = 32  # members of a room; in a larger room, every `@` may begin a mention
MAX_SCANNED_CHARS: Final = 1_000  # of a body, once for each beginning
MAX_ROOMS: Final = 1_000  # of which the beginnings are kept

_MAX_CHARS: Final = MAX_SENDER_CHARS + 2  # a name, and what shows that a word ends there
_MAX_RAW_CHARS: Final = _MAX_CHARS * MAX_DECOMPOSED
_AT: Final = re.compile(r"@(?<!\w@)(?=\S)")  # not the one in an address of electronic mail
_WORD_END: Final = re.compile(r"(?!\w|-[^\W_])")  # of ASCII text: in other scripts, a mark continues a word as well


class MentionFinder:
    """Finds whom drafts mention: names that tokens hold, and members of the draft's room.

    Most messages with an `@` mention nobody. For each room, the finder keeps the beginnings of all possible mentions in
    ASCII, such as `@a`, until a name comes or goes.
    """

    def __init__(self, access: AccessTable, roster: Roster) -> None:
        self._access = access
        self._roster = roster
        self._openings: dict[str, tuple[str, ...]] = {}  # by room
        self._generation = 0  # of the names from which they were made

    def add_to_all(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Return drafts with the names that their bodies mention. Bodies without an `@`, most of all, cost nothing."""
        for draft in drafts:
            if "@" in draft.body:
                self._update_openings()
                return [self._add_to(each) if "@" in each.body else each for each in drafts]
        return drafts

    def _update_openings(self) -> None:
        generation = self._access.generation + self._roster.generation  # both only grow
        if generation != self._generation or len(self._openings) > MAX_ROOMS:
            self._openings.clear()
            self._generation = generation

    def _add_to(self, draft: Draft) -> Draft:
        openings = self._openings.get(draft.room)
        if openings is None:
            openings = self._openings[draft.room] = self._find_openings(draft.room)
        body = draft.body
        if body.isascii() and len(body) <= MAX_SCANNED_CHARS:
            for opening in openings:
                if opening in body:
                    break
            else:
                return draft
        return self._search(draft)

    def _find_openings(self, room: str) -> tuple[str, ...]:
        members = self._roster.names(room)
        if len(members) > MAX_EXAMINED:
            return ("@",)
        held = self._access.held_beginnings
        beginnings = {*held, *map(str.upper, held), *(name[0] for name in members)}
        return tuple(f"@{char}" for char in beginnings if char.isascii())

    def _search(self, draft: Draft) -> Draft:
        if is_system_room(draft.room) or not (draft.act is None or draft.act is Act.EDIT):
            return draft
        access, members = self._access, self._roster.names(draft.room)

        def known_name(text: str) -> str | None:
            return text if text in members else access.held_name(text)

        mentions = find_mentions(draft.body, known_name)
        return replace(draft, mentions=mentions) if mentions else draft


def find_mentions(body: str, known_name: Callable[[str], str | None]) -> tuple[str, ...]:
    """Return the names that a body mentions, each once, in their order.

    After an `@`, the longest text that is a name counts, if a word ends there: `@release-bot` never mentions `release`.
    `known_name` returns the name that a text in NFC stands for, or None if it is no name. It is called at most
    `MAX_SENDER_CHARS` times for each of the first `MAX_MENTIONS` signs, and once for text that is repeated.
    """
    starts = [at.end() for at in islice(_AT.finditer(body), MAX_MENTIONS)]
    texts = dict.fromkeys([normalize(body[start : start + _MAX_RAW_CHARS])[:_MAX_CHARS] for start in starts])
    names = [_longest_name(text, known_name) for text in texts]
    return tuple(dict.fromkeys([name for name in names if name is not None]))


def _longest_name(text: str, known_name: Callable[[str], str | None]) -> str | None:
    for end in reversed([found.start() for found in _WORD_END.finditer(text, 1)]):
        if end <= MAX_SENDER_CHARS and not _is_mark(text[end : end + 1]):
            name = known_name(text[:end])
            if name is not None:
                return name
    return None


def _is_mark(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char)[0] == "M"
