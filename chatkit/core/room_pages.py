"""The rooms of a store, page by page: a store may have a hundred thousand."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from chatkit.core.name_range import NameRange, next_name
from chatkit.core.reading import RoomInfo

PAGE_ROOMS: Final = 1_000  # some milliseconds of the store


class RoomSource(Protocol):
    """A backend or a hub."""

    async def rooms(self, *, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        """Return a page of the rooms; see `Backend.rooms`."""


class RoomListPage(NamedTuple):
    """Some rooms in the order of their names, and the name from which the list continues; None if it is complete."""

    infos: Sequence[RoomInfo]
    following: str | None


async def read_room_page(
    source: RoomSource, within: Sequence[NameRange], start: str, limit: int = PAGE_ROOMS
) -> RoomListPage:
    """Return at most `limit` rooms whose names are not before `start`, in the ranges `within`, which `merge` returned.

    No room outside of the ranges is read.
    """
    infos: list[RoomInfo] = []
    for part in within:
        if part.end is not None and part.end <= start:
            continue
        if len(infos) == limit:
            return RoomListPage(infos, part.start)
        n_left = limit - len(infos)
        found = await source.rooms(start=max(part.start, start), end=part.end, limit=n_left)
        infos += found
        if len(found) == n_left:
            return RoomListPage(infos, next_name(found[-1].room))
    return RoomListPage(infos, None)
