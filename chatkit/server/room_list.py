"""The list of rooms as JSON, page by page. A long page is encoded in a thread, and the first one is shared.

It is without system rooms. Clients that may read only some rooms get a list of their own.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from chatkit.core.access import DEFAULT_ROOM_SETTINGS, is_system_room
from chatkit.core.backend import RoomInfo
from chatkit.core.hub import Hub
from chatkit.core.model import Head
from chatkit.core.name_range import EVERY_NAME, NameRange, names_with, next_name
from chatkit.core.room_pages import read_room_page
from chatkit.wire.http import RoomList, RoomView
from chatkit.wire.protocol import encode

MAX_LISTED: Final = 1_000  # rooms in a page: some 150 KB
FEW_ROOMS: Final = 500  # these are encoded in a millisecond or two, which is not worth a thread
MAX_UNWRITTEN: Final = 100  # rooms whose members are all on other servers: the head of each has to be read
AGE_FACTOR: Final = 10  # a list is reused for this many times as long as it took to make: at most a tenth of the time
MAX_AGE_S: Final = 5.0
CHECKED_AT_ONCE: Final = 200  # rooms, about 5 µs each: less than a millisecond of the event loop
FILTERING: Final = 2  # lists that are filtered at a time: each holds all rooms in memory


class RoomRange(msgspec.Struct, frozen=True):
    """A part of the list: at most `limit` rooms after a name, of those whose names begin with `prefix`."""

    after: str = ""
    prefix: str = ""
    limit: int = MAX_LISTED

    @property
    def names(self) -> NameRange:
        """The names that rooms in the range may have."""
        names = names_with(self.prefix)
        return NameRange(max(names.start, next_name(self.after)), names.end) if self.after else names


class ReadableRooms(NamedTuple):
    """The rooms that a client may read: those whose names are in `within`, and for which `may_read` returns true."""

    within: Sequence[NameRange] = (EVERY_NAME,)
    may_read: Callable[[str], bool] = bool


EVERY_ROOM: Final = ReadableRooms()


class _Chosen(msgspec.Struct, frozen=True):
    """The rooms of a page: those with messages, and the heads of those that only have members."""

    infos: list[RoomInfo]
    unwritten: dict[str, Head]
    is_complete: bool


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
        """Return the first page of all rooms as JSON. If it took long to make, it may be a few seconds old."""
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

    async def read_some(self, asked: RoomRange, readable: ReadableRooms = EVERY_ROOM) -> bytes:
        """Return the rooms of a range that the client may read, as JSON."""
        async with self._filtering:
            return await self._encode(await self._choose(asked, readable))

    async def _make(self) -> bytes:
        began_s = time.monotonic()
        chosen = await self._choose(RoomRange(), EVERY_ROOM)
        self._are_many = len(chosen.infos) + len(chosen.unwritten) > FEW_ROOMS
        made = await self._encode(chosen)
        if self._are_many:
            now_s = time.monotonic()
            self._made = made
            self._fresh_until_s = now_s + min(AGE_FACTOR * (now_s - began_s), MAX_AGE_S)
        return made

    async def _encode(self, chosen: _Chosen) -> bytes:
        if len(chosen.infos) + len(chosen.unwritten) <= FEW_ROOMS:
            return _encode_rooms(chosen, self._hub)
        return await asyncio.to_thread(_encode_rooms, chosen, self._hub)

    async def _choose(self, asked: RoomRange, readable: ReadableRooms) -> _Chosen:
        heads = self._hub.heads()
        infos = await self._written(asked, readable)
        end = infos[asked.limit].room if len(infos) > asked.limit else None  # where the next page begins
        written, asked_names = {info.room for info in infos}, asked.names

        def is_unwritten(room: str) -> bool:
            is_listed = asked_names.includes(room) and (end is None or room < end)
            return is_listed and room not in written and not is_system_room(room) and readable.may_read(room)

        unwritten = await choose_rooms({*heads, *self._hub.occupied}, is_unwritten)
        names = sorted([*written, *unwritten])
        listed = set(names[: asked.limit])
        return _Chosen(
            [info for info in infos if info.room in listed],
            await self._read_heads(sorted(unwritten & listed), heads),
            is_complete=len(names) <= asked.limit,
        )

    async def _written(self, asked: RoomRange, readable: ReadableRooms) -> list[RoomInfo]:
        """Return the rooms of a range that hold or held messages, and one more if there are more."""
        within = [part for each in readable.within if (part := each.overlap(asked.names)) is not None]
        infos: list[RoomInfo] = []
        start: str | None = asked.names.start
        step = asked.limit + 1
        while start is not None and len(infos) <= asked.limit:
            found, start = await read_room_page(self._hub, within, start, step)
            names = [info.room for info in found if not is_system_room(info.room)]
            chosen = await choose_rooms(names, readable.may_read)
            infos += [info for info in found if info.room in chosen]
            step = MAX_LISTED  # few calls, however few rooms are readable
        return infos[: asked.limit + 1]

    async def _read_heads(self, rooms: Sequence[str], heads: Mapping[str, Head]) -> dict[str, Head]:
        """Return the heads of rooms that have members but were never written to."""
        read = {room: heads[room] for room in rooms if room in heads}
        elsewhere = [room for room in rooms if room not in heads]
        for room in elsewhere[:MAX_UNWRITTEN]:
            read[room] = (await self._hub.history(room, limit=1)).head
        return read


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


def _encode_rooms(chosen: _Chosen, hub: Hub) -> bytes:
    """Encode rooms as a `RoomList`. This may run in a thread: of the hub it uses only counts and settings."""
    views = [view_room(hub, info.room, info.head, info.time_ms) for info in chosen.infos]
    views += [view_room(hub, room, head, None) for room, head in chosen.unwritten.items()]
    views.sort(key=lambda view: view.room)
    return encode(RoomList(views, chosen.is_complete))


def view_room(hub: Hub, room: str, head: Head, time_ms: int | None) -> RoomView:
    """Return a room's entry in the list."""
    view = RoomView.of(room, head, hub.count(room), time_ms)
    settings = hub.access.room_settings(room)
    return view if settings == DEFAULT_ROOM_SETTINGS else view.with_settings(settings)


async def read_room(hub: Hub, room: str) -> RoomView:
    """Return a room as the store has it now. Raise `Unavailable`."""
    page = await hub.history(room, limit=1)
    return view_room(hub, room, page.head, page.messages[-1].time_ms if page.messages else None)
