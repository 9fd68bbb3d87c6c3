"""Who is in which room: in this process by entering and leaving, in others by what they announce. Time is an argument.

A member is a name; one that entered twice (two windows, two processes) is there once, until the last of them has left.
"""

from collections.abc import Set as AbstractSet
from itertools import islice

import msgspec

from chatkit.core.backend import PresenceChange
from chatkit.core.model import Member


class Change(msgspec.Struct, frozen=True, eq=False):
    """Who came to and went from a room since it was last asked, and how many are there now."""

    room: str
    joined: list[str]
    left: list[str]
    count: int


class _Presence:
    """One name in one room: how often it entered here, in how many other processes it is, and since when."""

    __slots__ = ("entered", "n_elsewhere", "since_ms", "since_ms_elsewhere")

    def __init__(self) -> None:
        self.entered = 0
        self.since_ms = 0
        self.n_elsewhere = 0
        self.since_ms_elsewhere = 0


class Roster:
    """Every room's members. Entering, leaving and asking cost the same however many rooms and members there are."""

    def __init__(self, *, is_shared: bool = True) -> None:
        self._is_shared = is_shared  # else nobody takes what is kept to be announced, and it would only grow
        self._rooms: dict[str, dict[str, _Presence]] = {}
        self._elsewhere: dict[str, dict[tuple[str, str], int]] = {}  # by process: who is there, and since when
        # What was not yet told: True for who came. Someone who went and came back in between is no change at all.
        self._untold: dict[str, dict[str, bool]] = {}
        # What other processes do not know yet: since when, or None for who left; and what they are being told.
        self._unannounced: dict[tuple[str, str], int | None] = {}
        self._announcing: dict[tuple[str, str], int | None] = {}

    def enter(self, room: str, name: str, now_ms: int) -> None:
        """Count one more entry of the name."""
        presence = self._presence(room, name)
        if presence.entered == 0:
            presence.since_ms = now_ms
            self._announce(room, name, now_ms)
        presence.entered += 1

    def leave(self, room: str, name: str) -> None:
        """Take back one entry."""
        presence = self._rooms[room][name]
        presence.entered -= 1
        if presence.entered == 0:
            self._announce(room, name, None)
            self._forget_if_gone(room, name, presence)

    def take_elsewhere(self, news: PresenceChange) -> None:
        """Take what changed at another process. It costs what changed, however many are there."""
        there = self._elsewhere.setdefault(news.process, {})
        joined = {(room, member.name): member.since_ms for room, member in news.joined}
        for place, since_ms in joined.items():
            presence = self._presence(*place)
            presence.n_elsewhere += place not in there
            there[place] = since_ms
            presence.since_ms_elsewhere = since_ms if presence.n_elsewhere == 1 else self._since_elsewhere(place)
        for place in there.keys() - joined.keys() if news.whole else news.left:
            if there.pop(place, None) is not None:
                self._leave_elsewhere(place)
        if not there:
            del self._elsewhere[news.process]

    def _leave_elsewhere(self, place: tuple[str, str]) -> None:
        room, name = place
        presence = self._rooms[room][name]
        presence.n_elsewhere -= 1
        if presence.n_elsewhere:
            presence.since_ms_elsewhere = self._since_elsewhere(place)
        else:
            self._forget_if_gone(room, name, presence)

    def _since_elsewhere(self, place: tuple[str, str]) -> int:
        return min(since_ms for there in self._elsewhere.values() if (since_ms := there.get(place)) is not None)

    @property
    def rooms(self) -> AbstractSet[str]:
        """The rooms in which somebody is."""
        return self._rooms.keys()

    def count(self, room: str) -> int:
        """Return how many are in the room."""
        return len(self._rooms.get(room, ()))

    def members(self, room: str, limit: int) -> list[Member]:
        """Return those who are in the room, by when they came; of more than `limit`, those first known here."""
        # Each who joins asks: to look at ten thousand for the sake of two hundred would cost them milliseconds each.
        first = islice(self._rooms.get(room, {}).items(), limit)
        members = [Member(name, _since_ms(presence)) for name, presence in first]
        return sorted(members, key=lambda member: (member.since_ms, member.name))

    @property
    def has_changes(self) -> bool:
        """Say whether there is something to tell."""
        return bool(self._untold)

    def take_changes(self) -> list[Change]:
        """Return what changed in each room since the last call."""
        untold, self._untold = self._untold, {}
        return [
            Change(
                room,
                [n for n, came in names.items() if came],
                [n for n, came in names.items() if not came],
                self.count(room),
            )
            for room, names in untold.items()
        ]

    @property
    def has_announcements(self) -> bool:
        """Say whether the other processes have something to hear."""
        return bool(self._unannounced or self._announcing)

    def announcements(self) -> tuple[list[tuple[str, Member]], list[tuple[str, Member]]]:
        """Return who came and went by way of this process, for the others to know, until `announced` is called."""
        self._announcing |= self._unannounced
        self._unannounced = {}
        joined = [(room, Member(name, since)) for (room, name), since in self._announcing.items() if since is not None]
        left = [(room, Member(name, 0)) for (room, name), since in self._announcing.items() if since is None]
        return joined, left

    def announced(self) -> None:
        """Take note that the others know what `announcements` returned."""
        self._announcing = {}

    def announce_all(self) -> None:
        """Have every member of this process announced anew."""
        for room, names in self._rooms.items():
            for name, presence in names.items():
                if presence.entered:
                    self._announce(room, name, presence.since_ms)

    def _announce(self, room: str, name: str, since_ms: int | None) -> None:
        if self._is_shared:
            self._unannounced[room, name] = since_ms

    def _presence(self, room: str, name: str) -> _Presence:
        names = self._rooms.setdefault(room, {})
        presence = names.get(name)
        if presence is None:
            presence = names[name] = _Presence()
            self._note(room, name, came=True)
        return presence

    def _forget_if_gone(self, room: str, name: str, presence: _Presence) -> None:
        if presence.entered or presence.n_elsewhere:
            return
        names = self._rooms[room]
        del names[name]
        if not names:
            del self._rooms[room]
        self._note(room, name, came=False)

    def _note(self, room: str, name: str, *, came: bool) -> None:
        changes = self._untold.setdefault(room, {})
        if changes.get(name) is (not came):
            del changes[name]
            if not changes:
                del self._untold[room]
        else:
            changes[name] = came


def _since_ms(presence: _Presence) -> int:
    if not presence.n_elsewhere:
        return presence.since_ms
    return min(presence.since_ms, presence.since_ms_elsewhere) if presence.entered else presence.since_ms_elsewhere
