"""Which names look alike, and which names nobody may choose freely.

Two names look alike if one of the ways to write the first (as it is, in small letters, in capitals) looks like one of
those of the second. Based on the skeletons of UTS 39.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from chatkit.core.confusables import LOOKS
from chatkit.core.model import ANONYMOUS, MAX_DECOMPOSED, MAX_SENDER_CHARS, SENDER_RULE
from chatkit.core.text import BLANKS, strip_invisible
from chatkit.errors import BadName

# The marks that are written over and under the letters of Latin, Greek and Cyrillic. Other scripts write vowels with
# marks, so there names that differ in marks are different names.
_MARKS: Final = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_BLANK_RUN: Final = re.compile(f"[{BLANKS}]+")
_MAX_PASSES: Final = 8  # a look that is folded may look like another letter; the texts tried need at most three passes

# Where access is controlled, only an administrator gives these names away: readers would trust them.
ROLES: Final = (
    "admin", "administrator", "chatkit", "moderator", "operator", "owner", "security", "server", "staff", "support",
    "system",
)  # fmt: skip


@lru_cache(maxsize=1024)  # every guest's name is compared when it connects, and mostly not for the first time
def skeleton(name: str) -> str:
    """Return what a name looks like: equal for two names that a reader may confuse.

    Case, width, accents, invisible characters and runs of blanks are ignored, and letters of other scripts are replaced
    by the Latin letters that they look like. Raise `BadName` for a text that is too long for a name, before any other
    work.
    """
    if len(name) > MAX_SENDER_CHARS * MAX_DECOMPOSED:
        raise BadName("sender", SENDER_RULE)
    for _ in range(_MAX_PASSES):
        name, before = _simplify(name), name
        if name == before:
            break
    return name


def _simplify(name: str) -> str:
    looks = unicodedata.normalize("NFKC", strip_invisible(name)).translate(LOOKS)
    letters = _MARKS.sub("", unicodedata.normalize("NFKD", looks.casefold())).translate(LOOKS)
    return _BLANK_RUN.sub(" ", letters).strip(" ")


@lru_cache(maxsize=1024)
def skeletons(name: str) -> tuple[str, ...]:
    """Return the different skeletons of the ways to write a name, in order; one for an ASCII name.

    A capital letter may look like another letter than its small one does, as the Greek nu does (`N` and `v`).
    """
    if name.isascii():
        return (skeleton(name),)
    return tuple(sorted({skeleton(name), skeleton(name.casefold()), skeleton(name.upper())}))


_ROLE_SKELETONS: Final = frozenset(map(skeleton, ROLES))
_ANONYMOUS_SKELETON: Final = skeleton(ANONYMOUS)


def is_role(name: str) -> bool:
    """Return whether a name looks like one of `ROLES`."""
    return not _ROLE_SKELETONS.isdisjoint(skeletons(name))


def is_anonymous(name: str) -> bool:
    """Return whether a name looks like that of everybody who gives none, which no token can hold."""
    return _ANONYMOUS_SKELETON in skeletons(name)
