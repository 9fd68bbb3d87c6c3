"""A search in many rooms, a page at a time, each of which takes the store a bounded time.

The rooms with the newest messages are searched first, and a page has the newest hits of all rooms. If the time ends
before, it has the newest hits of the rooms that were searched, and the next pages have those of the other rooms, in the
order of the rooms' names, which stays the same while people write. If there are too many rooms to find those with the
newest messages, all pages are in this order.
"""

import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Final, NamedTuple, Self, TypeAlias

import msgspec
from msgspec.structs import replace

from chatkit.core.backend import Backend, Filter, MentionPosition, RoomInfo
from chatkit.core.model import Message
from chatkit.core.name_range import LAST_CHAR
from chatkit.core.page_size import cut_page
from chatkit.core.room_pages import RoomListPage
from chatkit.core.slices import FIRST_SLICE, Deadline, next_size, search_room
from chatkit.errors import BadCursor

MARK: Final = "~"  # the first character of a position in the rest of the rooms
MAX_POSITION_CHARS: Final = 2_000  # four names of rooms, and some numbers
MAX_GROUP: Final = (
    1_000  # rooms that are examined together: their names take the event loop some tenths of a millisecond
)
MAX_RANKED: Final = 5_000  # rooms that are ordered by their newest messages: listing them takes some 50 ms
ROOM_MESSAGES: Final = 10  # how a room counts: it costs a store about as much as so many messages

RoomsFrom: TypeAlias = Callable[[str], Awaitable[RoomListPage]]
"""Returns a page of the rooms to search, from the first one that is not before a name; it may be empty."""

LATEST_MS: Final = 2**61  # after the time of every message

_Hit: TypeAlias = tuple[MentionPosition, Message]
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class Rest(msgspec.Struct, frozen=True, array_like=True):
    """What is left of a search whose time ended. `began_ms` is the time of the newest message when it began.

    The rooms whose newest message then was after that of `cut_room` are searched. That room is searched down to
    `cut_seq`, and the others up to `room`, down to `seq`. Hits that are not after `floor` belong to a later search. If
    it is not known yet whether `room` is searched, its messages from `newer_seq` on are newer than the search.
    """

    began_ms: _Number
    floor: MentionPosition | None
    cut_time_ms: _Number
    cut_room: str
    cut_seq: _Number | None
    room: str = ""
    seq: _Number | None = None
    newer_seq: _Number | None = None


# All rooms, of which none was searched. What is written later may be found, too.
WHOLE: Final = Rest(LATEST_MS, None, LATEST_MS, LAST_CHAR, None)


class SearchPosition(msgspec.Struct, frozen=True, array_like=True):
    """Where a search continues: with the hits before a position, in all rooms or in the rest of them."""

    before: MentionPosition | None = None
    rest: Rest | None = None

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Parse the result of `str(position)`, or nothing. Raise `BadCursor` for anything else."""
        if not text:
            return cls()
        if not text.startswith(MARK):
            return cls(MentionPosition.parse(text))
        if len(text) > MAX_POSITION_CHARS:
            raise BadCursor(text[:MAX_POSITION_CHARS])
        try:
            found = msgspec.json.decode(urlsafe_b64decode(text[1:].encode()), type=cls)
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise BadCursor(text) from error
        if found.rest is None or "\0" in found.rest.room:
            raise BadCursor(text)
        for position in (found.before, found.rest.floor):
            if position is not None:
                MentionPosition.parse(str(position))
        return found

    def __str__(self) -> str:
        if self.rest is None:
            return "" if self.before is None else str(self.before)
        return MARK + urlsafe_b64encode(msgspec.json.encode(self)).decode()


START: Final = SearchPosition()


class SearchHits(NamedTuple):
    """The messages of a page, the newest first, and where the search continues; None if it is complete."""

    messages: list[Message]
    position: SearchPosition | None


async def search_rooms(
    backend: Backend, rooms_from: RoomsFrom, text: str, *, at: SearchPosition, limit: int
) -> SearchHits:
    """Return messages that contain a text now, of some rooms: at most `limit`, and maybe none yet."""
    asked = _Asked(backend, rooms_from, text, at.before, limit)
    return await (_search_newest(asked) if at.rest is None else _search_rest(asked, at.rest))


class _Asked(NamedTuple):
    """What is searched for: at most `limit` hits before a position."""

    backend: Backend
    rooms_from: RoomsFrom
    text: str
    before: MentionPosition | None
    limit: int


async def _search_newest(asked: _Asked) -> SearchHits:
    search = _RoomSearch(asked)
    infos = await _list_few(asked)
    if infos is None:
        return await _search_rest(asked, WHOLE)
    infos.sort(key=lambda info: (info.time_ms, info.room), reverse=True)
    hits: list[_Hit] = []  # a heap of one more than `limit`: the oldest of those that are kept is the first
    cut: tuple[RoomInfo, int | None] | None = None
    is_first = True
    async for info in search.screen(infos):
        if len(hits) > asked.limit and info.time_ms < hits[0][0].time_ms:
            break  # no other room has a newer hit
        if search.is_over and not is_first:
            cut = info, None
            break
        is_first = False
        found, reached = await search.read(info, None, asked.limit + 1)
        for hit in found:
            if len(hits) <= asked.limit:
                heapq.heappush(hits, hit)
            else:
                heapq.heappushpop(hits, hit)
        if reached is not None:
            cut = info, reached
            break
    newest = [message for _, message in sorted(hits, reverse=True)[: asked.limit]]
    messages = list(cut_page(newest, is_forward=True))
    oldest = _position(messages[-1]) if len(messages) < len(hits) else None
    if cut is not None:
        rest = Rest(infos[0].time_ms, oldest, cut[0].time_ms, cut[0].room, cut[1])
        return SearchHits(messages, SearchPosition(asked.before, rest))
    return SearchHits(messages, None if oldest is None else SearchPosition(oldest))


async def _list_few(asked: _Asked) -> list[RoomInfo] | None:
    """Return all rooms, or None if there are more than MAX_RANKED."""
    infos: list[RoomInfo] = []
    start: str | None = ""
    while start is not None:
        if len(infos) >= MAX_RANKED:
            return None
        page, start = await asked.rooms_from(start)
        infos += page
    return infos


async def _search_rest(asked: _Asked, rest: Rest) -> SearchHits:
    search = _RoomSearch(asked, rest)
    found: list[Message] = []
    following: Rest | None = rest
    while following is not None:
        infos, next_room = await asked.rooms_from(following.room)
        stopped = await _search_in_order(asked, search, following, infos, found)
        if stopped is not None:
            following = stopped
            break
        following = None if next_room is None else replace(rest, room=next_room, seq=None, newer_seq=None)
        if search.is_over or len(found) >= asked.limit:
            break
    messages = cut_page(found, is_forward=True)
    if len(messages) < len(found):
        following = replace(rest, room=messages[-1].room, seq=messages[-1].seq, newer_seq=None)
    in_order = sorted(messages, key=_position, reverse=True)
    if following is not None:
        return SearchHits(in_order, SearchPosition(asked.before, following))
    return SearchHits(in_order, None if rest.floor is None else SearchPosition(rest.floor))


async def _search_in_order(
    asked: _Asked, search: "_RoomSearch", rest: Rest, infos: Iterable[RoomInfo], found: list[Message]
) -> Rest | None:
    """Add hits of the first rooms of the rest to `found`; return what is left if the page ends before their end."""
    is_first = True
    async for info in search.screen(infos):
        if not is_first and (search.is_over or len(found) >= asked.limit):
            return replace(rest, room=info.room, seq=None, newer_seq=None)
        is_first = False
        start = rest.seq if info.room == rest.room else None
        if start is None:
            is_left, newer_seq = await search.is_left(info, rest)
            if newer_seq is not None:
                return replace(rest, room=info.room, seq=None, newer_seq=newer_seq)
            if not is_left:
                continue
            start = rest.cut_seq if info.room == rest.cut_room else None
        hits, reached = await search.read(info, start, asked.limit - len(found))
        found += [message for _, message in hits]
        if len(found) >= asked.limit:
            reached = found[-1].seq
        if reached is not None:
            return replace(rest, room=info.room, seq=reached, newer_seq=None)
    return None


class _RoomSearch:
    """The searches of single rooms for one page, which share its time."""

    def __init__(self, asked: _Asked, rest: Rest | None = None) -> None:
        self._backend = asked.backend
        self._before = asked.before
        self._floor = None if rest is None else rest.floor
        times_ms = [asked.before.time_ms] if asked.before is not None else []
        times_ms += [rest.began_ms] if rest is not None and rest.began_ms < LATEST_MS else []
        self._where = Filter(
            asked.text,
            since_ms=None if self._floor is None else self._floor.time_ms,
            until_ms=min(times_ms) + 1 if times_ms else None,
        )
        self._deadline = Deadline()
        self._size = FIRST_SLICE  # how many messages are examined together
        self._has_screened = False

    @property
    def is_over(self) -> bool:
        """Whether the time of the page has ended."""
        return self._deadline.left_s <= 0

    async def screen(self, infos: Iterable[RoomInfo]) -> AsyncIterator[RoomInfo]:
        """Iterate over the rooms that may have hits. Rooms with few messages are examined together."""
        n_messages = 0
        group: list[RoomInfo] = []
        for info in infos:
            n_more = ROOM_MESSAGES + info.head.last - info.head.first
            if group and (n_messages + n_more > self._size or len(group) == MAX_GROUP):
                began_s = self._deadline.left_s
                for each in await self._screen_group(group):
                    yield each
                took_s = began_s - self._deadline.left_s
                self._size = max(next_size(self._size, took_s, self._deadline.left_s), FIRST_SLICE)
                group, n_messages = [], 0
            group.append(info)
            n_messages += n_more
        for each in await self._screen_group(group):
            yield each

    async def _screen_group(self, group: Sequence[RoomInfo]) -> Sequence[RoomInfo]:
        if len(group) <= 1 or (self.is_over and self._has_screened):
            return group
        self._has_screened = True  # also if listing the rooms took all of the time, so that every page makes progress
        found = set(await self._backend.find_rooms([info.room for info in group], self._where))
        return [info for info in group if info.room in found]

    async def read(self, info: RoomInfo, start: int | None, limit: int) -> tuple[list[_Hit], int | None]:
        """Return the newest hits of a room below a number, and the number that was reached if the time has ended."""
        found: list[_Hit] = []
        while True:
            page, reached = await search_room(
                self._backend,
                info.room,
                self._where,
                before=start,
                limit=limit,
                folded=True,
                deadline=self._deadline,
                head=info.head,
            )
            found += [(_position(message), message) for message in reversed(page.messages) if self._is_wanted(message)]
            if reached is not None or page.complete or not page.messages or len(found) >= limit:
                return found[:limit], reached if len(found) < limit else None
            start = page.messages[0].seq

    def _is_wanted(self, message: Message) -> bool:
        position = _position(message)
        is_before = self._before is None or position < self._before
        return is_before and (self._floor is None or position > self._floor)

    async def is_left(self, info: RoomInfo, rest: Rest) -> tuple[bool, int | None]:
        """Return whether a room was not searched yet when the time of the first page ended.

        If this page's time ends before that is known, return the `newer_seq` with which the next page continues.
        """
        time_ms, reached = info.time_ms, None
        if info.time_ms > rest.began_ms:  # somebody has written since: the order is that of the time before
            before = rest.newer_seq if info.room == rest.room else None
            page, reached = await search_room(
                self._backend,
                info.room,
                Filter(until_ms=rest.began_ms + 1),
                before=before,
                limit=1,
                deadline=self._deadline,
            )
            if not page.messages:
                return False, reached
            time_ms = page.messages[0].time_ms
        return (time_ms, info.room) <= (rest.cut_time_ms, rest.cut_room), None


def _position(message: Message) -> MentionPosition:
    return MentionPosition(message.time_ms, message.room, message.seq)
