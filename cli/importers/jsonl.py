"""Import of `chatkit export`: the messages with their numbers, and the settings of the rooms."""

from collections.abc import Callable, Collection
from typing import Final, assert_never

import msgspec

from chatkit.cli.export_format import ExportedRoom, ExportEnd, ExportHeader, Line, parse_line
from chatkit.cli.importers.lines import LineReader
from chatkit.cli.importers.log_loader import ImportCounts, ImportFailed, LogLoader
from chatkit.core.access import DEFAULT_ROOM_SETTINGS, EVERYTHING, Credential, Identity, RoomSettings
from chatkit.core.audit import Audit
from chatkit.core.backend import Backend
from chatkit.core.model import Message
from chatkit.core.moderation import Moderation
from chatkit.errors import BadInput, NotFound

SHOW_LINES: Final = 250  # between two updates of the progress


class ExportImporter:
    """Imports the lines of an export into a store. `by` is the name that the audit gives for changed settings."""

    def __init__(
        self,
        backend: Backend,
        counts: ImportCounts,
        *,
        by: str,
        now_ms: Callable[[], int],
        only: Collection[str],
        room: str | None,
    ) -> None:
        self._loader = LogLoader(backend, counts)
        self._counts = counts
        self._audit = Audit(backend, now_ms)
        self._moderation = Moderation(backend, now_ms, self._audit)
        self._by = Identity(by, grants=EVERYTHING, credential=Credential.STORE)
        self._only = only
        self._found: set[str] = set()
        self._room = room
        self._source_room: str | None = None  # the room that is imported under the name `room`
        self._has_header = False
        self._has_end = False

    @property
    def is_complete(self) -> bool:
        """Whether the input ended as an export ends. Input without a header, such as that of `history`, has no end."""
        return self._has_end or not self._has_header

    async def run(self, lines: LineReader, show: Callable[[str], None]) -> None:
        """Import all lines. Raise `ImportFailed` at the first bad one; all messages before it are then stored.

        Raise `NotFound` if a room that is wanted is not in the file.
        """
        try:
            for text in lines:
                try:
                    line, unknown = parse_line(text)
                except BadInput as error:
                    if lines.is_cut and self._has_header:  # an interrupted export ends within a line
                        break
                    raise ImportFailed(f"{lines.place}: {error}") from error
                self._counts.add_unknown(unknown)
                await self._import(line, lines.place)
                if lines.number % SHOW_LINES == 0 and isinstance(line, Message):
                    show(line.room)
        finally:
            await self._loader.flush()
            await self._audit.close()
        if missing := sorted(set(self._only) - self._found):
            raise NotFound(f"the file has no room {missing[0]!r}")

    async def _import(self, line: Line, place: str) -> None:
        match line:
            case Message():
                if (room := self._renamed(line.room, place)) is not None:
                    await self._loader.add(
                        line if room == line.room else msgspec.structs.replace(line, room=room), place
                    )
            case ExportedRoom():
                if (room := self._renamed(line.room, place)) is not None:
                    await self._loader.flush()
                    await self._set_room(room, line)
            case ExportHeader():
                self._has_header, self._has_end = True, False  # files may be joined
            case ExportEnd():
                self._has_end = True
            case _:
                assert_never(line)

    def _renamed(self, room: str, place: str) -> str | None:
        """Return the room in which to store a room of the input, or None if it is not wanted."""
        self._found.add(room)
        if self._only and room not in self._only:
            return None
        if self._room is None:
            return room
        if self._source_room not in {None, room}:
            raise ImportFailed(
                f"{place}: there is a second room {room!r}: --room is for one room, which --only can choose"
            )
        self._source_room = room
        return self._room

    async def _set_room(self, room: str, line: ExportedRoom) -> None:
        """Apply the settings of the input, unless the room has settings of its own."""
        self._counts.rooms[room] = None
        given = RoomSettings(line.topic, line.keep, line.keep_for_s, line.archived)
        if given != DEFAULT_ROOM_SETTINGS:
            await self._moderation.set_room(
                self._by, room, lambda settings: given if settings == DEFAULT_ROOM_SETTINGS else settings
            )
