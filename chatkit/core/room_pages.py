"""The rooms of a store, page by page: a store may have a hundred thousand."""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final, Protocol

from chatkit.core.backend import Backend
from chatkit.core.model import Head
from chatkit.core.reading import RoomInfo

PAGE_ROOMS: Final = 1_000  # some milliseconds of the store
FEW_ROOMS: Final = 16  # reading them one by one takes less than a page
FIRST_CHAR: Final = "\x01"  # before every character of a name


class RoomSource(Protocol):
    """A backend or a hub."""

    async def rooms(self, *, start: str = "", limit: int | None = None) -> list[RoomInfo]:
        """Return a page of the rooms; see `Backend.rooms`."""


def next_name(room: str) -> str:
    """Return the first name that is after the name of a room."""
    return room + FIRST_CHAR


async def room_pages(source: RoomSource, start: str = "") -> AsyncIterator[Sequence[RoomInfo]]:
    """Iterate over pages of the rooms whose names are not before `start`, in the order of the names."""
    while True:
        page = await source.rooms(start=start, limit=PAGE_ROOMS)
        yield page
        if len(page) < PAGE_ROOMS:
            return
        start = next_name(page[-1].room)


async def read_heads(backend: Backend, rooms: Collection[str]) -> dict[str, Head]:
    """Return the heads of these rooms, without most of those that never held a message."""
    if len(rooms) <= FEW_ROOMS:
        return {room: (await backend.read(room, limit=1)).head for room in rooms}
    wanted = frozenset(rooms)
    heads: dict[str, Head] = {}
    async for page in room_pages(backend, min(wanted)):
        heads.update({info.room: info.head for info in page if info.room in wanted})
    return heads
