"""ReadState: up to where each name has read each room, what it has not read, and who mentions it.

A marker is a record: a cursor, so that it is void in a log that began again. It only moves forward.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from chatkit.core.access import Identity, is_system_room
from chatkit.core.access_store import AT_ONCE
from chatkit.core.backend import Backend, MentionPosition, RoomUnread
from chatkit.core.model import ANONYMOUS, Cursor, Message
from chatkit.core.name_range import EVERY_NAME, NameRange
from chatkit.core.records import Record, RecordChanges
from chatkit.errors import BadCursor, Forbidden, NotFound, VersionConflict

MARKER: Final = "marker"  # the kind of the records, by name and room
MAX_TRIES: Final = 20  # of one mark: two clients of one name rarely mark the same room at the same moment

OnMarked = Callable[[str, int], None]
"""Called with a room, and the number up to which the name has read it."""


def reader_of(identity: Identity, *, is_open: bool) -> str:
    """Return the name for which markers are kept. Raise `Forbidden` unless it is known whose name it is.

    If a server is open, nobody is known by a token, and a name suffices, as it does to publish.
    """
    if not identity.is_verified and (not is_open or identity.name == ANONYMOUS):
        raise Forbidden("what was read is kept for a name: use a token, or on an open server a name of your own")
    return identity.name


class Records(Protocol):
    """The part of a backend in which markers are kept."""

    async def get_record(self, kind: str, key: str) -> Record | None:
        """Return a record; see `Backend.get_record`."""

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        """Set a record; see `Backend.put_record`."""


class ReadState:
    """The markers of all names, and what depends on them, over one backend."""

    def __init__(self, backend: Backend, records: Records) -> None:
        self._backend = backend
        self._records = records
        self._watchers: defaultdict[str, set[OnMarked]] = defaultdict(set)

    # Markers

    async def mark(self, name: str, room: str, seq: int) -> int:
        """Note that a name has read a room up to a number, and return the marker, which does not move back.

        Beyond the end of the log, the marker is its end. Raise `NotFound` for a room without messages.
        """
        head = (await self._backend.read(room, limit=1)).head
        if not head.last:
            raise NotFound(f"the room {room!r} has no messages")
        marker = Cursor(head.epoch, min(max(seq, 0), head.last))
        for _ in range(MAX_TRIES):
            record = await self._records.get_record(MARKER, _key(name, room))
            known = _cursor_of(record)
            if known is not None and known.epoch == head.epoch and known.seq >= marker.seq:
                return known.seq
            try:
                version = 0 if record is None else record.version
                await self._records.put_record(MARKER, _key(name, room), str(marker).encode(), expected_version=version)
            except VersionConflict:
                continue
            return marker.seq
        raise VersionConflict(MARKER, room)

    async def marker(self, name: str, room: str) -> int:
        """Return the number up to which a name has read a room; 0 if it has not."""
        known = _cursor_of(await self._records.get_record(MARKER, _key(name, room)))
        if known is None:
            return 0
        head = (await self._backend.read(room, limit=1)).head
        return min(known.seq, head.last) if known.epoch == head.epoch else 0

    async def unread(self, name: str, may_read: Callable[[str], bool]) -> list[RoomUnread]:
        """Return what a name has not read, in each room that it may read and has marked, or that mentions it."""
        known = {room: at for room, at in (await self._markers(name)).items() if may_read(room)}
        heads = await self._backend.heads(known)
        markers = {room: known[room].seq if known[room].epoch == head.epoch else 0 for room, head in heads.items()}
        found = await self._backend.count_unread(name, markers)
        return [
            replace(each, marker=min(each.marker, each.last))
            for each in found
            if not is_system_room(each.room) and may_read(each.room)
        ]

    async def _markers(self, name: str) -> dict[str, Cursor]:
        records = await self._backend.scan_records(MARKER, f"{name}/")
        parsed = ((*_parse_key(record.key), _cursor_of(record)) for record in records)
        return {room: at for of, room, at in parsed if of == name and at is not None}

    # Mentions

    async def mentions(
        self,
        name: str,
        within: Sequence[NameRange] = (EVERY_NAME,),
        *,
        before: MentionPosition | None,
        limit: int,
    ) -> Sequence[Message]:
        """Return the newest mentions of a name, in rooms with names in these ranges; see `Backend.read_mentions`."""
        return await self._backend.read_mentions(name, within=within, before=before, limit=limit)

    # Watchers

    def watch(self, name: str, on_marked: OnMarked) -> None:
        """Call a function for each marker of a name that moves from now on, by any client."""
        self._watchers[name].add(on_marked)

    def unwatch(self, name: str, on_marked: OnMarked) -> None:
        """Do not call it any more."""
        watchers = self._watchers[name]
        watchers.discard(on_marked)
        if not watchers:
            del self._watchers[name]

    def apply(self, changes: RecordChanges) -> None:
        """Pass changed markers on to the watchers of their names."""
        if not self._watchers or changes.whole:
            return
        for record in changes.records:
            if record.kind == MARKER and (at := _cursor_of(record)) is not None:
                name, room = _parse_key(record.key)
                for on_marked in tuple(self._watchers.get(name, ())):
                    on_marked(room, at.seq)


async def move_markers(backend: Backend, room: str, new: str | None) -> None:
    """Give the markers of a room the room's new name, or remove them if `new` is None."""
    for index, record in enumerate(await backend.scan_records(MARKER)):
        if index % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)  # other tasks run in between
        name, marked = _parse_key(record.key)
        if marked != room:
            continue
        if new is not None and await backend.get_record(MARKER, _key(name, new)) is None:
            await backend.put_record(MARKER, _key(name, new), record.value, expected_version=0)
        await backend.put_record(MARKER, record.key, None, expected_version=record.version)


def _key(name: str, room: str) -> str:
    return f"{name}/{room}"


def _parse_key(key: str) -> tuple[str, str]:
    """Return the name and the room of a marker: only the name may hold a slash."""
    name, _, room = key.rpartition("/")
    return name, room


def _cursor_of(record: Record | None) -> Cursor | None:
    if record is None or record.value is None:
        return None
    try:
        return Cursor.parse(record.value.decode())
    except (BadCursor, UnicodeDecodeError):  # written by hand, or by a later version: as if nothing was read
        return None
