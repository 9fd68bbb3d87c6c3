"""ForeignLoader: appends the messages of another program to a room, in the order of their times, each one once."""

from collections.abc import Callable, Iterable, Sequence

from chatkit.cli.export_format import MAX_TEXT_BYTES
from chatkit.cli.importers.foreign_message import ForeignMessage
from chatkit.cli.importers.log_loader import ImportCounts, ImportFailed, LogLoader
from chatkit.core.backend import Backend
from chatkit.core.model import MAX_TIME_MS, Message, check_body, check_data, format_time
from chatkit.errors import BadInput

PAGE_MESSAGES = 1_000


class ForeignLoader:
    """Stores foreign messages that the room does not have yet.

    The foreign and the stored messages are read side by side, in the order of their times. One whose key is stored is
    skipped, so that an import that was interrupted continues. A new one can only be appended: if the room has a
    newer message, `ImportFailed` is raised.
    """

    def __init__(self, backend: Backend, counts: ImportCounts, show: Callable[[str], None]) -> None:
        self._backend = backend
        self._counts = counts
        self._show = show

    async def load(self, room: str, messages: Iterable[ForeignMessage]) -> None:
        """Import the messages of a room, which are in order, except where a clock was set back."""
        loader = LogLoader(self._backend, self._counts)
        stored = _StoredLog(self._backend, room)
        await stored.advance()
        newest_ms, last_key = 0, ""
        try:
            for foreign in messages:
                if foreign.time_ms >= MAX_TIME_MS:  # nobody could read the room
                    raise ImportFailed(f"a message of {foreign.sender} is of the year 9999 or later")
                newest_ms = max(newest_ms, foreign.time_ms)
                if foreign.key != last_key and await self._is_new(room, foreign, newest_ms, stored):
                    stored.last += 1
                    place = f"the message of {format_time(newest_ms)} in {room}"
                    await loader.add(_message(room, stored.last, newest_ms, foreign, place), place)
                last_key = foreign.key
                self._show(room)
        finally:
            await loader.flush()

    async def _is_new(self, room: str, foreign: ForeignMessage, time_ms: int, stored: "_StoredLog") -> bool:
        while (message := stored.current) is not None and message.key != foreign.key and message.time_ms <= time_ms:
            await stored.advance()
        if message is None:
            return True
        if message.key == foreign.key:
            await stored.advance()
            stored.has_matched = True
            self._counts.n_known += 1
            self._counts.rooms[room] = None
        elif stored.is_trimmed and not stored.has_matched:
            self._counts.n_gone += 1
        else:
            raise ImportFailed(
                f"the room {room!r} has messages that are newer than {format_time(time_ms)}, the time of a message that"
                " is to be imported: import into another room with --room"
            )
        return False


class _StoredLog:
    """The messages of a room, one after the other. `current` is None after the last one."""

    def __init__(self, backend: Backend, room: str) -> None:
        self._backend = backend
        self._room = room
        self._page: Sequence[Message] = ()
        self._index = 0
        self._seq = 0
        self._is_complete = False
        self.current: Message | None = None
        self.last = 0  # the number of the newest message of the room
        self.is_trimmed = False
        self.has_matched = False

    async def advance(self) -> None:
        """Go to the next message."""
        if self._index >= len(self._page) and not self._is_complete:
            page = await self._backend.read(self._room, after=self._seq, limit=PAGE_MESSAGES)
            self._page, self._index, self._is_complete = page.messages, 0, page.complete
            self.last, self.is_trimmed = page.head.last, page.head.first > 1
        self.current = self._page[self._index] if self._index < len(self._page) else None
        self._index += 1
        self._seq = self._seq if self.current is None else self.current.seq


def _message(room: str, seq: int, time_ms: int, foreign: ForeignMessage, place: str) -> Message:
    try:
        body = check_body(foreign.body, MAX_TEXT_BYTES)
        data = None if foreign.data is None else check_data(foreign.data, MAX_TEXT_BYTES)
    except BadInput as error:
        raise ImportFailed(f"{place}: {error}") from error
    return Message(room, "", seq, time_ms, foreign.sender, body, data, foreign.key, bot=foreign.bot)
