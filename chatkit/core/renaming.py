"""Renaming of rooms: the log, the settings and the bans of a room get another name. Checks no rights.

While the log moves, the old name refuses everything with `Unavailable`, so that clients try again and their messages go
to the new name. After it, the old name refuses with `RoomRenamed`, until the room of the old name is deleted.
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from msgspec.structs import replace

from chatkit.core import access_records
from chatkit.core.access import DEFAULT_ROOM_SETTINGS, Ban, RoomSettings, no_such_room
from chatkit.core.access_store import AccessStore
from chatkit.core.backend import Backend
from chatkit.errors import ChatkitError, RoomRenamed, Unavailable

_Change: TypeAlias = Callable[[RoomSettings | None], RoomSettings | None]


class Renaming:
    """One renaming, from `room` to `new`. `refusal_s` is the time after which every process refuses the old name."""

    def __init__(self, backend: Backend, store: AccessStore, room: str, new: str, refusal_s: float) -> None:
        self._backend = backend
        self._store = store
        self._room = room
        self._new = new
        self._refusal_s = refusal_s
        self._moved_bans: list[str] = []

    async def run(self) -> None:
        """Rename the room. Raise `NotFound` if it has no log, and `BadRequest` if the new name is taken.

        Running it again completes a renaming that was interrupted.
        """
        before, _ = await self._update(self._room, self._begin)
        is_repeated = before is not None and before.is_moving
        try:
            await asyncio.sleep(self._refusal_s)
            await self._move_bans(self._room, self._new)
            if not await self._backend.rename_room(self._room, self._new) and not is_repeated:
                raise no_such_room(self._room)
        except Unavailable:
            raise  # the log may have moved nevertheless: the old name stays closed until somebody runs it again
        except (ChatkitError, asyncio.CancelledError):
            if not is_repeated:
                await self._undo(before)
            raise
        settings = replace(before or DEFAULT_ROOM_SETTINGS, renamed_to=None, is_moving=False)
        await self._update(self._new, lambda _: None if settings == DEFAULT_ROOM_SETTINGS else settings)
        await self._update(self._room, lambda _: RoomSettings(renamed_to=self._new))

    def _begin(self, settings: RoomSettings | None) -> RoomSettings:
        settings = settings or DEFAULT_ROOM_SETTINGS
        if settings.renamed_to is not None and (settings.renamed_to != self._new or not settings.is_moving):
            raise RoomRenamed(self._room, settings.renamed_to)
        return replace(settings, renamed_to=self._new, is_moving=True)

    async def _undo(self, before: RoomSettings | None) -> None:
        for ban_id in self._moved_bans:
            await self._set_room_of_ban(ban_id, self._room)
        await self._update(self._room, lambda _: before)

    async def _move_bans(self, room: str, new: str) -> None:
        for ban in await self._store.all(access_records.BAN, Ban):
            if ban.room == room:
                await self._set_room_of_ban(ban.id, new)
                self._moved_bans.append(ban.id)

    async def _set_room_of_ban(self, ban_id: str, room: str) -> None:
        await self._store.update(
            access_records.BAN, ban_id, Ban, lambda ban: None if ban is None else replace(ban, room=room)
        )

    async def _update(self, room: str, change: _Change) -> tuple[RoomSettings | None, RoomSettings | None]:
        return await self._store.update(access_records.ROOM, room, RoomSettings, change)
