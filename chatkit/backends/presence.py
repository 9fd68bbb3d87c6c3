"""Others: how far it is known who is in which room of all other processes, for stores that keep this in tables.

A process counts its changes, and each row of a member says by which of them it became what it is. So who asks says what
is known, and is answered with the rows that are newer. A process that faded and came back has another life: what was
known of the last one is not to be mixed with it.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from chatkit.core.backend import PresenceChange
from chatkit.core.model import Member


class PresenceRow(msgspec.Struct, frozen=True, array_like=True):
    """A member of a process that changed; or of a process without any change, all but the last four.

    `is_whole` where all of the process's members are told, because what is known of it does not help.
    """

    process: str
    life: str
    version: int
    is_whole: bool
    room: str | None
    name: str | None
    since_ms: int | None
    is_gone: bool | None


class RemotePresence:
    """Of each process its life and its version, as they were last told."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, int]] = {}

    def take(self, rows: Sequence[PresenceRow]) -> list[PresenceChange]:
        """Take what was told of all processes that are alive as known; return what is new."""
        before, self.known = self.known, {row.process: (row.life, row.version) for row in rows}
        presences = [PresenceChange(process, whole=True) for process in before.keys() - self.known.keys()]
        for process, members in groupby(sorted(rows, key=_process), key=_process):
            if self.known[process] != before.get(process):
                presences.append(_presence(process, members))
        return presences


def _process(row: PresenceRow) -> str:
    return row.process


def _presence(process: str, rows: Iterable[PresenceRow]) -> PresenceChange:
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
            joined.append((row.room, Member(row.name, row.since_ms)))
    return PresenceChange(process, joined, left, whole=is_whole)
