"""The members of every room: those that entered in this process, and those that other processes announced.

A member is a name. A name that entered twice (two windows, two processes) is one member, until the last of its entries
has left. Reads no clock and does no I/O: the callers pass the time.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from chatkit.core.backend import PresenceChange
from chatkit.core.model import Member
from chatkit.core.signals import MembersChanged

Marks: TypeAlias = tuple[bool, bool]  # whether a member is verified, and whether it is a bot
UNMARKED: Final[Marks] = (False, False)
EncodeMembers: TypeAlias = Callable[[Sequence[Member]], bytes]


class _Entry:
    """One name in one room: its entries in this process, the number of other processes that have it, and since when.

    `marks` and `remote_marks` say whether it is verified and a bot's: of the last entry, and of the other processes.
    """

    __slots__ = ("marks", "n_entered", "n_remote", "remote_marks", "remote_since_ms", "since_ms")

    def __init__(self) -> None:
        self.n_entered = 0
        self.since_ms = 0
        self.marks = UNMARKED
        self.n_remote = 0
        self.remote_since_ms = 0
        self.remote_marks = UNMARKED

    @property
    def is_marked(self) -> bool:
        """Whether the name is verified or a bot's anywhere."""
        return self.marks != UNMARKED or (self.n_remote > 0 and self.remote_marks != UNMARKED)

    def local(self, name: str) -> Member:
        """Return the member as it is in this process."""
        return Member(name, self.since_ms, *self.marks)

    def member(self, name: str) -> Member:
        """Return the member as it is in all processes."""
        if not self.n_remote:
            return self.local(name)
        if not self.n_entered:
            return Member(name, self.remote_since_ms, *self.remote_marks)
        since_ms = min(self.since_ms, self.remote_since_ms)
        return Member(name, since_ms, *map(max, self.marks, self.remote_marks))


class _MemberList(NamedTuple):
    """The first members of one room, by joining time, and their encoded forms by the function that made them."""

    names: frozenset[str]
    members: list[Member]
    encoded: dict[EncodeMembers, bytes]


_NOBODY: Final[dict[str, _Entry]] = {}


class Roster:
    """Every room's members. The cost of entering, leaving and asking does not depend on the number of members."""

    def __init__(self, *, is_shared: bool = True) -> None:
        self.n_members = 0  # of all rooms
        self.generation = 0  # grows whenever a name comes to a room or leaves it
        self._is_shared = is_shared  # otherwise announcements are never read, and would only grow
        self._rooms: dict[str, dict[str, _Entry]] = {}
        self._remote: dict[str, dict[tuple[str, str], Member]] = {}  # by process: its members
        # The full lists of large rooms, until one of the members in them changes: everybody who joins gets the list.
        self._lists: dict[str, _MemberList] = {}
        # By room: the names whose change was not reported yet; True if they joined. Leaving and joining cancel out.
        self._unreported: dict[str, dict[str, bool]] = {}
        # Changes that other processes lack, with None for a member that left; and those being announced.
        self._unannounced: dict[tuple[str, str], Member | None] = {}
        self._announcing: dict[tuple[str, str], Member | None] = {}

    def enter(self, room: str, name: str, now_ms: int, marks: Marks = UNMARKED) -> None:
        """Add one entry of the name."""
        entry = self._entry(room, name)
        if entry.n_entered == 0:
            entry.since_ms = now_ms
        if entry.n_entered == 0 or entry.marks != marks:
            entry.marks = marks
            self._announce(room, name, entry.local(name))
            self._drop_list(room, name)
        entry.n_entered += 1

    def leave(self, room: str, name: str) -> None:
        """Remove one entry of the name."""
        entry = self._rooms[room][name]
        entry.n_entered -= 1
        if entry.n_entered == 0:
            self._announce(room, name, None)
            self._drop_list(room, name)
            self._remove_if_gone(room, name, entry)

    def apply_remote(self, change: PresenceChange) -> None:
        """Apply the changes of another process. The cost grows with the changes, not with the members."""
        remote = self._remote.setdefault(change.process, {})
        joined = {(room, member.name): member for room, member in change.joined}
        for key, member in joined.items():
            entry = self._entry(*key)
            self._drop_list(*key)
            entry.n_remote += key not in remote
            remote[key] = member
            if entry.n_remote == 1:  # the common case: no other process is asked
                entry.remote_since_ms, entry.remote_marks = member.since_ms, (member.verified, member.bot)
            else:
                self._update_remote(key, entry)
        for key in remote.keys() - joined.keys() if change.whole else change.left:
            if remote.pop(key, None) is not None:
                self._leave_remote(key)
        if not remote:
            del self._remote[change.process]

    def _leave_remote(self, key: tuple[str, str]) -> None:
        room, name = key
        self._drop_list(room, name)
        entry = self._rooms[room][name]
        entry.n_remote -= 1
        if entry.n_remote:
            self._update_remote(key, entry)
        else:
            self._remove_if_gone(room, name, entry)

    def _update_remote(self, key: tuple[str, str], entry: _Entry) -> None:
        members = [member for remote in self._remote.values() if (member := remote.get(key)) is not None]
        entry.remote_since_ms = min([member.since_ms for member in members])
        entry.remote_marks = any(member.verified for member in members), any(member.bot for member in members)

    @property
    def rooms(self) -> AbstractSet[str]:
        """The rooms that have members."""
        return self._rooms.keys()

    def count(self, room: str) -> int:
        """Return how many members the room has."""
        return len(self._rooms.get(room, ()))

    def names(self, room: str) -> AbstractSet[str]:
        """Return the names that are present in a room."""
        return self._rooms.get(room, _NOBODY).keys()

    def members(self, room: str, limit: int) -> list[Member]:
        """Return at most `limit` members in the order in which they joined; of more, those first known here."""
        return self._list(room, limit).members

    def encoded_members(self, room: str, limit: int, encode: EncodeMembers) -> bytes:
        """Return what `encode` makes of `members`. In a large room, it is called again only after one has changed."""
        listed = self._list(room, limit)
        if encode not in listed.encoded:
            listed.encoded[encode] = encode(listed.members)
        return listed.encoded[encode]

    def _list(self, room: str, limit: int) -> _MemberList:
        kept = self._lists.get(room)
        if kept is not None and len(kept.members) == limit:
            return kept
        # Every join calls this: sorting ten thousand members for a list of two hundred would take milliseconds.
        first = dict(islice(self._rooms.get(room, _NOBODY).items(), limit))
        members = [entry.member(name) for name, entry in first.items()]
        members.sort(key=lambda member: (member.since_ms, member.name))
        listed = _MemberList(frozenset(first), members, {})
        if first and len(first) == limit:  # a name that joins later does not change it
            self._lists[room] = listed
        return listed

    def _drop_list(self, room: str, name: str) -> None:
        """Drop the room's list if this member, which changes, is in it."""
        listed = self._lists.get(room)
        if listed is not None and name in listed.names:
            del self._lists[room]

    @property
    def has_changes(self) -> bool:
        """Whether members joined or left since `pop_changes` was called."""
        return bool(self._unreported)

    def pop_changes(self) -> list[MembersChanged]:
        """Return the changes in each room since the last call."""
        untold, self._unreported = self._unreported, {}
        return [self._change(room, names) for room, names in untold.items()]

    def _change(self, room: str, names: dict[str, bool]) -> MembersChanged:
        present = self._rooms.get(room, {})
        joined = [name for name, has_joined in names.items() if has_joined]
        marked = [present[name].member(name) for name in joined if present[name].is_marked]
        return MembersChanged(
            room,
            joined,
            [name for name, has_joined in names.items() if not has_joined],
            self.count(room),
            [member.name for member in marked if member.verified],
            [member.name for member in marked if member.bot],
        )

    @property
    def has_announcements(self) -> bool:
        """Whether the other processes lack some change."""
        return bool(self._unannounced or self._announcing)

    def announcements(self) -> tuple[list[tuple[str, Member]], list[tuple[str, Member]]]:
        """Return the members that joined and left in this process, again and again until `announced` is called."""
        self._announcing |= self._unannounced
        self._unannounced = {}
        joined = [(room, member) for (room, _), member in self._announcing.items() if member is not None]
        left = [(room, Member(name, 0)) for (room, name), member in self._announcing.items() if member is None]
        return joined, left

    def announced(self) -> None:
        """Discard the changes that `announcements` returned: the other processes have them."""
        self._announcing = {}

    def announce_all(self) -> None:
        """Announce every member of this process again."""
        for room, names in self._rooms.items():
            for name, entry in names.items():
                if entry.n_entered:
                    self._announce(room, name, entry.local(name))

    def _announce(self, room: str, name: str, member: Member | None) -> None:
        if self._is_shared:
            self._unannounced[room, name] = member

    def _entry(self, room: str, name: str) -> _Entry:
        names = self._rooms.setdefault(room, {})
        entry = names.get(name)
        if entry is None:
            entry = names[name] = _Entry()
            self.n_members += 1
            self.generation += 1
            self._record(room, name, has_joined=True)
        return entry

    def _remove_if_gone(self, room: str, name: str, entry: _Entry) -> None:
        if entry.n_entered or entry.n_remote:
            return
        names = self._rooms[room]
        del names[name]
        self.n_members -= 1
        self.generation += 1
        if not names:
            del self._rooms[room]
        self._record(room, name, has_joined=False)

    def _record(self, room: str, name: str, *, has_joined: bool) -> None:
        changes = self._unreported.setdefault(room, {})
        if changes.get(name) is (not has_joined):
            del changes[name]
            if not changes:
                del self._unreported[room]
        else:
            changes[name] = has_joined
