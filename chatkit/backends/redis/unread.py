"""RedisUnread: the mentions of a name over all rooms, and what it has not read.

Both are found in an index of each room, without reading messages that do not count. A round trip is for many rooms.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import chain
from typing import TypeVar

from chatkit.backends.redis.codec import KeyNames, encode
from chatkit.backends.redis.connection import Command, Reply, Word
from chatkit.backends.redis.reader import RedisReader
from chatkit.backends.redis.relations import decode_number, encode_number, reaction_member
from chatkit.backends.redis.router import Router, SlotCommand
from chatkit.backends.redis.scripts import Script
from chatkit.core.backend import MentionPosition, RoomUnread
from chatkit.core.model import Message
from chatkit.core.name_range import NameRange

T = TypeVar("T")

MENTIONS_STEP = 2_500  # mentions that are found in one round trip: a millisecond or two
ROOMS_STEP = 100  # rooms that are asked in one round trip: a millisecond or two of client and server
ROOMS_A_SCRIPT = 20  # rooms of one slot that one script counts: less than a millisecond
EXAMINED = 1_000  # entries that one script examines: about a millisecond
NOTHING_READ = -1  # in place of a marker: the room counts only if it mentions the name

_UNREAD = Script("relations", "unread")


class RedisUnread:
    """Reads what concerns one name, in the rooms on the servers of `router`."""

    def __init__(self, router: Router, reader: RedisReader, names: KeyNames) -> None:
        self._router = router
        self._reader = reader
        self._names = names

    async def has_reaction(self, room: str, seq: int, emoji: str, sender: str) -> bool:
        """Return whether a sender has put an emoji to a message; see `Backend.has_reaction`."""
        names = self._names.of(room)
        commands: list[Command] = [
            ("ZSCORE", names.refs, reaction_member(max(seq, 0), emoji, sender)),
            ("ZCOUNT", names.gone, seq, seq),
            ("HGET", names.meta, "dropped"),
        ]
        found, n_redacted, dropped = await self._calls(room, commands)
        return found is not None and not n_redacted and seq > int(dropped or 0)

    async def read_mentions(
        self, name: str, within: Sequence[NameRange], before: MentionPosition | None, limit: int
    ) -> list[Message]:
        """Return the newest messages that mention a name; see `Backend.read_mentions`."""
        found: list[MentionPosition] = []
        related = await self._reader.room_names(of_related=True)
        names = [room for room in related if any(part.includes(room) for part in within)]
        n_rooms = min(max(MENTIONS_STEP // limit, 1), ROOMS_STEP)
        while names:
            step, names = names[:n_rooms], names[n_rooms:]
            after_ms = found[-1].time_ms if len(found) == limit else 0
            calls = [self._newest(room, name, after_ms, before, limit) for room in step]
            replies = await self._router.calls("searches", calls)
            for room, members in zip(step, replies, strict=True):
                found += (_position(room, name, member) for member in members)
            found = nlargest(limit, found)
            if sum(map(len, replies)) < MENTIONS_STEP // 4:  # most rooms mention the name rarely
                n_rooms = min(n_rooms * 2, ROOMS_STEP)
        return await self._read(name, found)

    def _newest(self, room: str, name: str, after_ms: int, before: MentionPosition | None, limit: int) -> SlotCommand:
        """Return the call that finds the newest mentions of a name in a room, from a time to a position."""
        prefix = b"t" + name.encode()
        if before is None:
            high = prefix + b"\1"
        else:
            high = prefix + b"\0" + encode_number(before.time_ms + (room < before.room))
            high += encode_number(before.seq) if room == before.room else b""
        refs = self._names.of(room).refs
        low = prefix + b"\0" + encode_number(after_ms)
        command: Command = ("ZREVRANGEBYLEX", refs, b"(" + high, b"[" + low, "LIMIT", 0, limit)
        return SlotCommand(self._reader.slot(room), command)

    async def _read(self, name: str, positions: Sequence[MentionPosition]) -> list[Message]:
        """Read messages in their current state, without those that have ceased to mention the name."""
        found: list[Message] = []
        for step in _steps(positions, ROOMS_STEP):
            messages = await self._reader.read_each([(position.room, position.seq) for position in step])
            found += (message for message in messages if message is not None and name in message.mentions)
        return found

    async def count_unread(self, name: str, markers: Mapping[str, int], limit: int) -> list[RoomUnread]:
        """Count what a name has not read; see `Backend.count_unread`."""
        counts = _Counts(name, markers, limit)
        rooms = list(dict.fromkeys([*markers, *await self._reader.room_names(of_related=True)]))
        for step in _steps(rooms, ROOMS_STEP):
            unfinished = dict.fromkeys(step, 0)  # rooms, and the number at which the count continues
            while unfinished:
                unfinished = await self._count(counts, unfinished)
        return [counts.of_room[room] for room in sorted(counts.of_room)]

    async def _count(self, counts: "_Counts", starts: Mapping[str, int]) -> dict[str, int]:
        """Count one step of each room in one round trip; return the unfinished rooms, and where to continue."""
        slots: dict[int, list[str]] = {}
        for room in starts:
            slots.setdefault(self._reader.slot(room), []).append(room)
        scripts = [(slot, rooms) for slot, of_slot in slots.items() for rooms in _steps(of_slot, ROOMS_A_SCRIPT)]
        calls: list[SlotCommand] = []
        for slot, rooms in scripts:
            arguments: list[Word] = [counts.name, b"[%s," % encode(counts.name), EXAMINED]  # an entry begins so
            arguments += chain.from_iterable(counts.words(room, starts[room]) for room in rooms)
            calls.append(SlotCommand(slot, _UNREAD([key for room in rooms for key in self._keys(room)], arguments)))
        unfinished: dict[str, int] = {}
        for (_, rooms), replies in zip(scripts, await self._router.calls("searches", calls), strict=True):
            for room, reply in zip(rooms, replies, strict=True):
                if reply is not None and (next_seq := counts.add(room, reply)):
                    unfinished[room] = next_seq
        return unfinished

    def _keys(self, room: str) -> tuple[bytes, bytes, bytes]:
        names = self._names.of(room)
        return names.meta, names.log, names.refs

    async def _calls(self, room: str, commands: Sequence[Command]) -> list[Reply]:
        slot = self._reader.slot(room)
        return await self._router.calls("pages", [SlotCommand(slot, command) for command in commands])


class _Counts:
    """What was counted so far for a name, by room."""

    def __init__(self, name: str, markers: Mapping[str, int], limit: int) -> None:
        self.name = name
        self.of_room: dict[str, RoomUnread] = {}
        self._markers = markers
        self._limit = limit

    def _n_unread(self, room: str) -> int:
        return self.of_room[room].n_unread if room in self.of_room else 0

    def words(self, room: str, start: int) -> tuple[int, int, int]:
        """Return the arguments of the script for a room."""
        read_to = max(self._markers[room], 0) if room in self._markers else NOTHING_READ
        return read_to, start, self._limit - self._n_unread(room)

    def add(self, room: str, reply: Reply) -> int:
        """Add the script's answer for a room; return where to continue, or 0."""
        last, n_more, n_mentions, next_seq = reply
        n_unread, marker = self._n_unread(room) + n_more, self._markers.get(room, 0)
        self.of_room[room] = RoomUnread(room, marker, last, n_unread, min(n_mentions, self._limit))
        return int(next_seq)


def _position(room: str, name: str, member: bytes) -> MentionPosition:
    time_ms, at = decode_number(member, len(name.encode()) + 2)
    return MentionPosition(time_ms, room, decode_number(member, at)[0])


def _steps(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
