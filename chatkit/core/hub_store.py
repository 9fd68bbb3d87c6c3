"""HubStore: what administration and moderation change in a store. This process knows of each change at once."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from chatkit.core.backend import Backend, Filter, Page
from chatkit.core.model import Draft, Message, Receipt
from chatkit.core.records import Record
from chatkit.errors import ChatkitError


class HubStore:
    """Records, messages, and deletions and new names of rooms. The four functions are those of the hub.

    `publish` commits a draft, `refresh` passes changed records on in this process. `delete_room` deletes a room, and
    `rename_room` renames one.
    """

    def __init__(
        self,
        backend: Backend,
        publish: Callable[[Draft], Awaitable[Receipt]],
        refresh: Callable[[], Awaitable[None]],
        delete_room: Callable[[str], Awaitable[bool]],
        rename_room: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        self._backend = backend
        self._publish = publish
        self._refresh = refresh
        self.delete_room = delete_room
        self.rename_room = rename_room

    async def get_record(self, kind: str, key: str) -> Record | None:
        """Return the newest state of a record; see `Backend.get_record`."""
        return await self._backend.get_record(kind, key)

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        """Set or delete a record; see `Backend.put_record`. When it returns, this process knows of the change."""
        record = await self._backend.put_record(kind, key, value, expected_version=expected_version)
        with suppress(ChatkitError):  # the record was changed nevertheless, and `RecordWatcher.run` will see that
            await self._refresh()
        return record

    async def scan_records(self, kind: str, prefix: str = "") -> Sequence[Record]:
        """Return the records of a kind; see `Backend.scan_records`."""
        return await self._backend.scan_records(kind, prefix)

    async def read(self, room: str, *, where: Filter) -> Page:
        """Return the newest messages of a room that match; see `Backend.read`."""
        return await self._backend.read(room, where=where)

    async def redact(self, room: str, seq: int) -> Message:
        """Remove a message's body and data; see `Backend.redact`."""
        return await self._backend.redact(room, seq)

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit drafts in their order, and wake the readers of their rooms."""
        return [await self._publish(draft) for draft in drafts]
