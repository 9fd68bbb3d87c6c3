"""The list of rooms as JSON. A long list is encoded in a thread, once for all requests that arrive in the meantime.

It is without system rooms. Clients that may read only some rooms get a list of their own.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from chatkit.core.access import DEFAULT_ROOM_SETTINGS, is_system_room
from chatkit.core.backend import RoomInfo
from chatkit.core.hub import Hub
from chatkit.core.model import Head
from chatkit.wire.http import RoomList, RoomView
from chatkit.wire.protocol import encode

FEW_ROOMS: Final = 500  # these are encoded in a millisecond or two, which is not worth a thread
MAX_UNWRITTEN: Final = 100  # rooms whose members are all on other servers: the head of each has to be read
AGE_FACTOR: Final = 10  # a list is reused for this many times as long as it took to make: at most a tenth of the time
MAX_AGE_S: Final = 5.0
CHECKED_AT_ONCE: Final = 200  # rooms, about 5 µs each: less than a millisecond of the event loop
FILTERING: Final = 2  # lists that are filtered at a time: each holds all rooms in memory


class EncodedRooms:
    """The encoded list of one hub's rooms. If there are many, concurrent requests share one list."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._making: asyncio.Task[bytes] | None = None  # shared by all requests that wait for it
        self._made = b""
        self._are_many = False
        self._fresh_until_s = 0.0
        self._filtering = asyncio.Semaphore(FILTERING)

    async def read(self) -> bytes:
        """Return the list as JSON. A list that took long to make may be a few seconds old."""
        if time.monotonic() < self._fresh_until_s:
            return self._made
        if not self._are_many:
            return await self._make()
        if self._making is None:
            self._making = asyncio.ensure_future(self._make())
            self._making.add_done_callback(self._end)
        return await asyncio.shield(self._making)

    def _end(self, task: asyncio.Task[bytes]) -> None:
        self._making = None
        if not task.cancelled():
            task.exception()  # retrieved here, so that asyncio does not warn if every request was cancelled

    async def read_some(self, may_read: Callable[[str], bool]) -> bytes:
        """Return the list of the rooms for which `may_read` returns true, as JSON."""
        async with self._filtering:
            infos, heads = await self._rooms()
            readable = await choose_rooms({*(info.room for info in infos), *heads, *self._hub.occupied}, may_read)
            kept = [info for info in infos if info.room in readable]
            unwritten = await self._unwritten(infos, heads, readable.__contains__)
            if len(kept) + len(unwritten) <= FEW_ROOMS:
                return encode_rooms(kept, unwritten, self._hub)
            return await asyncio.to_thread(encode_rooms, kept, unwritten, self._hub)

    async def _rooms(self) -> tuple[list[RoomInfo], dict[str, Head]]:
        infos = [info for info in await self._hub.rooms() if not is_system_room(info.room)]
        return infos, {room: head for room, head in self._hub.heads().items() if not is_system_room(room)}

    async def _make(self) -> bytes:
        infos, heads = await self._rooms()
        self._are_many = len(infos) + len(heads) + len(self._hub.occupied) > FEW_ROOMS
        if not self._are_many:
            return encode_rooms(infos, await self._unwritten(infos, heads), self._hub)
        began_s = time.monotonic()
        made = await asyncio.to_thread(encode_rooms, infos, await self._unwritten(infos, heads), self._hub)
        now_s = time.monotonic()
        self._made = made
        self._fresh_until_s = now_s + min(AGE_FACTOR * (now_s - began_s), MAX_AGE_S)
        return made

    async def _unwritten(
        self, infos: Sequence[RoomInfo], heads: Mapping[str, Head], may_read: Callable[[str], bool] = bool
    ) -> dict[str, Head]:
        """Return the rooms that have members but were never written to."""
        written = {info.room for info in infos}
        unwritten = {room: head for room, head in heads.items() if room not in written and may_read(room)}
        elsewhere = [
            room
            for room in self._hub.occupied
            if room not in written and room not in unwritten and not is_system_room(room) and may_read(room)
        ]
        for room in elsewhere[:MAX_UNWRITTEN]:
            unwritten[room] = (await self._hub.history(room, limit=1)).head
        return unwritten


async def choose_rooms(rooms: Collection[str], may_read: Callable[[str], bool]) -> set[str]:
    """Return the rooms for which `may_read` returns true, and let other tasks run in between."""
    chosen: set[str] = set()
    for batch in _batched(rooms, CHECKED_AT_ONCE):
        chosen.update(filter(may_read, batch))
        await asyncio.sleep(0)
    return chosen


def _batched(rooms: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield the rooms in lists of at most `size`."""
    remaining = iter(rooms)
    while batch := list(islice(remaining, size)):
        yield batch


def encode_rooms(infos: Sequence[RoomInfo], unwritten: Mapping[str, Head], hub: Hub) -> bytes:
    """Encode rooms as a `RoomList`. This may run in a thread: of the hub it uses only counts and settings."""
    views = [view_room(hub, info.room, info.head, info.time_ms) for info in infos]
    views += [view_room(hub, room, head, None) for room, head in unwritten.items()]
    views.sort(key=lambda view: view.room)
    return encode(RoomList(views))


def view_room(hub: Hub, room: str, head: Head, time_ms: int | None) -> RoomView:
    """Return a room's entry in the list."""
    view = RoomView.of(room, head, hub.count(room), time_ms)
    settings = hub.access.room_settings(room)
    return view if settings == DEFAULT_ROOM_SETTINGS else view.with_settings(settings)


async def read_room(hub: Hub, room: str) -> RoomView:
    """Return a room as the store has it now. Raise `Unavailable`."""
    page = await hub.history(room, limit=1)
    return view_room(hub, room, page.head, page.messages[-1].time_ms if page.messages else None)
