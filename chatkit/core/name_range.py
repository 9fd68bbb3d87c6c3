"""NameRange: the names of rooms between two names, in the order of their code points. No store, no rights."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

FIRST_CHAR: Final = "\x01"  # before every character of a name
LAST_CHAR: Final = "\U0010ffff"  # after every character of a name


class NameRange(msgspec.Struct, frozen=True, array_like=True):
    """The names from `start` on that are before `end`; all of them if `end` is None."""

    start: str = ""
    end: str | None = None

    def includes(self, name: str) -> bool:
        """Return whether the range has a name."""
        return name >= self.start and (self.end is None or name < self.end)

    def overlap(self, other: "NameRange") -> "NameRange | None":
        """Return the names that both ranges have, or None without such a name."""
        start = max(self.start, other.start)
        end = min((each.end for each in (self, other) if each.end is not None), default=None)
        return NameRange(start, end) if end is None or start < end else None


EVERY_NAME: Final = NameRange()


def next_name(room: str) -> str:
    """Return the first name that is after the name of a room."""
    return room + FIRST_CHAR


def range_of(pattern: str) -> NameRange:
    """Return the names that the pattern of a grant matches: one, those that begin like `ops*`, or all for `*`."""
    return names_with(pattern[:-1]) if pattern.endswith("*") else NameRange(pattern, next_name(pattern))


def names_with(prefix: str) -> NameRange:
    """Return the names that begin with a prefix."""
    return NameRange(prefix, prefix + LAST_CHAR) if prefix else EVERY_NAME


def merge(ranges: Iterable[NameRange]) -> Sequence[NameRange]:
    """Return the names of all ranges as ranges in order that do not overlap."""
    return tuple(_merge(sorted(ranges, key=lambda each: each.start)))


def _merge(ranges: Sequence[NameRange]) -> Iterator[NameRange]:
    """Yield the ranges, which are in the order of their beginnings, joined where they overlap."""
    joined: NameRange | None = None
    for each in ranges:
        if joined is None:
            joined = each
        elif joined.end is None or each.start <= joined.end:
            is_endless = joined.end is None or each.end is None
            joined = NameRange(joined.start, None if is_endless else max(joined.end or "", each.end or ""))
        else:
            yield joined
            joined = each
    if joined is not None:
        yield joined
