"""RemotePresence: what is known of the members of other processes, for stores that keep them in tables.

Each process counts its changes, and each member's row has the version in which it last changed. A process that polls
sends the versions that it knows, and gets only newer rows. A process that expired and came back has another life, so
that its rows are never merged with those of its previous life.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from chatkit.backends.flags import BOT, VERIFIED
from chatkit.core.backend import PresenceChange
from chatkit.core.model import Member


class PresenceRow(msgspec.Struct, frozen=True, array_like=True):
    """A member of a process that changed, or, with only the first four fields set, a process without changes.

    `is_whole` is true if the rows are all members of the process, because the known version is too old or of another
    life.
    """

    process: str
    life: str
    version: int
    is_whole: bool
    room: str | None
    name: str | None
    since_ms: int | None
    is_gone: bool | None
    flags: int | None = 0


class RemotePresence:
    """The life and the version of each other process, as they were last read."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, int]] = {}

    def update(self, rows: Sequence[PresenceRow]) -> list[PresenceChange]:
        """Record the rows of all processes that are alive, read with `known`; return the changes."""
        before, self.known = self.known, {row.process: (row.life, row.version) for row in rows}
        changes = [PresenceChange(process, whole=True) for process in before.keys() - self.known.keys()]
        for process, members in groupby(sorted(rows, key=_process), key=_process):
            if self.known[process] != before.get(process):
                changes.append(_to_change(process, members))
        return changes


def _process(row: PresenceRow) -> str:
    return row.process


def _to_change(process: str, rows: Iterable[PresenceRow]) -> PresenceChange:
    joined: list[tuple[str, Member]] = []
    left: list[tuple[str, str]] = []
    is_whole = False
    for row in rows:
        is_whole = row.is_whole
        if row.room is None or row.name is None or row.since_ms is None:
            continue
        if row.is_gone:
            left.append((row.room, row.name))
        else:
            flags = row.flags or 0
            joined.append((row.room, Member(row.name, row.since_ms, flags & VERIFIED > 0, flags & BOT > 0)))
    return PresenceChange(process, joined, left, whole=is_whole)
