"""A search in many rooms: the newest hits first, a page at a time."""

import heapq
from collections.abc import Sequence
from typing import TypeAlias

from chatkit.core.backend import Backend, Filter, MentionPosition, RoomInfo
from chatkit.core.model import Message

_Hit: TypeAlias = tuple[MentionPosition, Message]


async def search_rooms(
    backend: Backend, rooms: Sequence[RoomInfo], text: str, *, before: MentionPosition | None, limit: int
) -> list[Message]:
    """Return the newest messages that contain a text now, before a position, of the given rooms: at most `limit`.

    The rooms with the newest messages are searched first, and those that can have no newer hit are left out.
    """
    until_ms = None if before is None else before.time_ms + 1
    where = Filter(search=text, until_ms=until_ms)
    hits: list[_Hit] = []  # a heap: the oldest of those that are kept is the first
    for info in sorted(rooms, key=lambda info: info.time_ms, reverse=True):
        if len(hits) == limit and info.time_ms < hits[0][0].time_ms:
            break
        for hit in await _search_room(backend, info.room, where, before, limit):
            if len(hits) < limit:
                heapq.heappush(hits, hit)
            elif hit[0] > hits[0][0]:
                heapq.heapreplace(hits, hit)
    return [message for _, message in sorted(hits, key=lambda hit: hit[0], reverse=True)]


async def _search_room(
    backend: Backend, room: str, where: Filter, before: MentionPosition | None, limit: int
) -> list[_Hit]:
    """Return the newest hits of one room before a position."""
    found: list[_Hit] = []
    end: int | None = None
    while len(found) < limit:
        page = await backend.read(room, before=end, limit=limit, where=where, folded=True)
        hits = [(MentionPosition(message.time_ms, room, message.seq), message) for message in page.messages]
        found += [hit for hit in reversed(hits) if before is None or hit[0] < before]
        if page.complete or not page.messages:
            break
        end = page.messages[0].seq
    return found[:limit]
