"""LogLoader: stores messages that have numbers. Messages that the store has already are compared, not stored again."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chatkit.core.backend import Backend
from chatkit.core.model import Head, Message
from chatkit.core.page_size import MAX_PAGE_BYTES, size_of
from chatkit.errors import BadInput, BadRequest, ChatkitError, KeyConflict

MAX_BATCH: Final = 1_000  # messages in one call: few enough that other writers do not wait long
MAX_UNKNOWN_FIELDS: Final = 20  # names that are printed at the end
MAX_FIELD_CHARS: Final = 80


class ImportFailed(ChatkitError):
    """The input, or the room, does not allow to continue. The messages before it are stored."""

    code = "import-failed"


class ImportCounts:
    """What has been imported. `n_known` messages were stored before; `n_gone` are no longer kept in their rooms."""

    def __init__(self) -> None:
        self.rooms: dict[str, None] = {}  # in the order in which they came
        self.n_stored = 0
        self.n_known = 0
        self.n_gone = 0
        self.n_redacted = 0
        self.n_skipped = 0  # lines
        self.unknown_fields: set[str] = set()

    def add_unknown(self, fields: Iterable[str]) -> None:
        """Remember the names of fields that are not stored, up to a number and a length that a person reads."""
        for field in fields:
            if len(self.unknown_fields) >= MAX_UNKNOWN_FIELDS:
                return
            self.unknown_fields.add(field[:MAX_FIELD_CHARS])

    @property
    def n_messages(self) -> int:
        """The number of messages that are done."""
        return self.n_stored + self.n_known + self.n_gone


class LogLoader:
    """Stores messages in batches. `place` of a message, such as its line, is named in errors.

    Stored messages with the same number must be the same message, or the room is another one: then `ImportFailed` is
    raised. A stored message that is redacted in the input is redacted.
    """

    def __init__(self, backend: Backend, counts: ImportCounts) -> None:
        self._backend = backend
        self._counts = counts
        self._begins: dict[str, int] = {}  # the first messages of the rooms that were empty before
        self._batch: list[Message] = []
        self._n_bytes = 0
        self._places = ("", "")  # of the first and the last message of the batch

    async def add(self, message: Message, place: str) -> None:
        """Store a message, with the next batch."""
        batch = self._batch
        follows = not batch or (message.room == batch[-1].room and message.seq == batch[-1].seq + 1)
        n_bytes = size_of(message)
        if not follows or len(batch) >= MAX_BATCH or self._n_bytes + n_bytes > MAX_PAGE_BYTES:
            await self.flush()
        self._places = (self._places[0] if self._batch else place, place)
        self._batch.append(message)
        self._n_bytes += n_bytes

    async def flush(self) -> None:
        """Store the batch. Raise `ImportFailed` if its room has other messages, or does not end before the batch."""
        batch, self._batch, self._n_bytes = self._batch, [], 0
        if not batch:
            return
        self._counts.rooms[batch[0].room] = None
        try:
            await self._store(batch)
        except (BadInput, KeyConflict) as error:
            raise ImportFailed(f"{'-'.join(dict.fromkeys(self._places))}: {error}") from error

    async def _store(self, batch: Sequence[Message]) -> None:
        head = (await self._backend.read(batch[0].room, limit=1)).head
        known = [message for message in batch if message.seq <= head.last]
        await self._compare(known, head)
        n_stored = await self._backend.load(batch)
        if n_stored and head.first > head.last:
            self._begins.setdefault(batch[0].room, batch[0].seq)
        self._counts.n_stored += n_stored
        # Others may have published since the head was read, so that fewer messages are stored than expected.
        others = batch[len(known) : len(batch) - n_stored]
        await self._compare(others, head)

    async def _compare(self, messages: Sequence[Message], head: Head) -> None:
        if messages and messages[0].seq < (begin := self._begins.get(messages[0].room, 0)):
            raise BadRequest(f"message {messages[0].seq} of {messages[0].room!r} comes after message {begin}")
        kept = [message for message in messages if message.seq >= head.first]
        self._counts.n_gone += len(messages) - len(kept)
        while kept:
            page = await self._backend.read(kept[0].room, after=kept[0].seq - 1, limit=len(kept))
            stored = {message.seq: message for message in page.messages}
            if kept[0].seq not in stored:  # trimmed since
                self._counts.n_gone += 1
                kept = kept[1:]
                continue
            for message in (same := [message for message in kept if message.seq in stored]):
                await self._compare_one(message, stored[message.seq])
            self._counts.n_known += len(same)
            kept = kept[len(same) :]

    async def _compare_one(self, message: Message, stored: Message) -> None:
        if comparable(message, stored) != comparable(stored, message):
            raise BadRequest(
                f"the room {message.room!r} has another message {message.seq}: import into another room with --room"
            )
        if message.redacted and not stored.redacted:
            await self._backend.redact(message.room, message.seq)
            self._counts.n_redacted += 1


def comparable(message: Message, other: Message) -> Message:
    """Return the message without its epoch, and without its content if it or the other is redacted."""
    if message.redacted or other.redacted:
        message = message.tombstone()
    return msgspec.structs.replace(message, epoch="")
