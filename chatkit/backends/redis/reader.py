"""RedisReader: pages, searches and the list of rooms. Knows nothing of subscriptions.

What refers to the messages of a page is returned by the script that reads the page, so that both are one snapshot.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from math import inf
from time import monotonic
from typing import NamedTuple

from chatkit.backends.memory import choose
from chatkit.backends.redis.codec import KeyNames, decode_entries, decode_texts
from chatkit.backends.redis.connection import Reply, Word
from chatkit.backends.redis.relations import ALL_MESSAGES, AS_STORED, CHOSEN, PINNED, replies_to, show_states
from chatkit.backends.redis.router import Purpose, Router, SlotCommand
from chatkit.backends.redis.scripts import Script
from chatkit.core.backend import Filter, Page, RoomInfo, new_epoch
from chatkit.core.model import Head, Message
from chatkit.core.name_range import next_name
from chatkit.core.page_size import MAX_PAGE_BYTES, cut_page, size_of

NO_EPOCH = "none"  # epoch of a missing room; real epochs have more characters
BEYOND = 2**62  # larger than any seq
SCAN_STEP = 500  # messages that a search examines in one round trip: some milliseconds of server and client
MANY_ROOMS = 10_000  # a list of fewer names is made again for each page, in some hundredths of a second
LISTED_S = 5.0  # for which a longer list is used: to make it, every key is examined
ROOMS_STEP = 1_000  # keys examined by one SCAN, and rooms read or trimmed in one round trip

SCREEN_STEP = 50  # rooms that are examined together in one round trip: about a millisecond of server and client
SCREEN_MESSAGES, SCREEN_BYTES = 100, 1 << 16  # of the longest such room

_SCREEN = Script("screen")
_READ, _READ_FOLDED = Script("read"), Script("relations", "states", "read")


class _Request(NamedTuple):
    """The messages of a source between two numbers, both exclusive, from the lowest on or from the highest on.

    `chosen` are the numbers of the messages if the source is CHOSEN.
    """

    room: str
    low: int
    high: int
    limit: int
    source: bytes
    is_forward: bool
    chosen: tuple[int, ...] = ()


class RedisReader:
    """Reads the rooms on the servers of `router`."""

    def __init__(self, router: Router, names: KeyNames) -> None:
        self._router = router
        self._names = names
        self._listed: list[str] = []  # the names of the rooms, for the pages of a long list
        self._listed_until_s = -inf

    def slot(self, room: str) -> int:
        """Return the slot of a room's keys."""
        return self._router.topology.slot(self._names.of(room).meta)

    async def read(
        self,
        room: str,
        after: int | None,
        before: int | None,
        limit: int,
        where: Filter | None,
        *,
        folded: bool = False,
    ) -> Page:
        """Read a page; see `Backend.read`."""
        low = min(max(after or 0, (where.above if where else None) or 0, 0), BEYOND)
        high = BEYOND if before is None else min(before, BEYOND)
        source = _source(where) if folded else AS_STORED
        request = _Request(room, low, high, min(limit, BEYOND), source, after is not None)
        if where is None or where == Filter():
            return await self._page("pages", request)
        return await self._search(request, where)

    async def read_one(self, room: str, seq: int) -> Message | None:
        """Read one message as it was written; return None if it does not exist."""
        page = await self._page("pages", _Request(room, seq - 1, seq + 1, 1, AS_STORED, is_forward=True))
        return page.messages[0] if page.messages else None

    async def read_each(self, positions: Sequence[tuple[str, int]]) -> list[Message | None]:
        """Read messages of many rooms in their current state, in one round trip; None for each that does not exist."""
        requests = [_Request(room, seq - 1, seq + 1, 1, ALL_MESSAGES, is_forward=True) for room, seq in positions]
        replies = await self._router.calls("pages", [self._call(request) for request in requests])
        pages = [_decode_page(request, reply) for request, reply in zip(requests, replies, strict=True)]
        return [page.messages[0] if page.messages else None for page in pages]

    async def _page(self, purpose: Purpose, request: _Request) -> Page:
        slot, command = self._call(request)
        return _decode_page(request, await self._router.call(purpose, slot, command))

    def _call(self, request: _Request) -> SlotCommand:
        room, low, high, limit, source, is_forward, chosen = request
        start, stop = (low + 1, high - 1) if 0 <= low < high - 1 < BEYOND else (1, 0)
        arguments: list[Word] = [new_epoch(), start, stop, limit + 1, int(not is_forward), MAX_PAGE_BYTES, source]
        script = _READ if source == AS_STORED else _READ_FOLDED
        return SlotCommand(self.slot(room), script(self._names.of(room).stored, [*arguments, *chosen]))

    async def _search(self, request: _Request, where: Filter) -> Page:
        """Read step by step, and filter. Messages that are appended during the search are not examined."""
        limit, is_forward = request.limit, request.is_forward
        step = request._replace(limit=SCAN_STEP)
        first = page = await self._page("searches", step)
        step = step._replace(high=min(step.high, first.head.last + 1))
        found: list[Message] = []  # in the order of reading
        while True:
            read = page.messages if is_forward else page.messages[::-1]
            found += await choose(read, where, limit + 1 - len(found))
            if len(found) > limit or page.complete or not page.messages or sum(map(size_of, found)) > MAX_PAGE_BYTES:
                break
            step = step._replace(low=read[-1].seq) if is_forward else step._replace(high=read[-1].seq)
            page = await self._page("searches", step)
            if page.head.epoch != first.head.epoch:  # the log was started again: the messages found are of the old one
                return await self._search(step._replace(high=BEYOND, limit=limit), where)
        messages = cut_page(found[:limit], is_forward=True)
        is_complete = len(messages) == len(found) and (page.complete or not page.messages)
        in_order = messages if is_forward else messages[::-1]
        if request.source == AS_STORED or not found:
            return Page(first.head, in_order, complete=is_complete)
        return await self._recheck(request, where, Page(first.head, in_order, complete=is_complete))

    async def find_rooms(self, rooms: Sequence[str], where: Filter) -> list[str]:
        """Return the rooms that may have a match; see `Backend.find_rooms`. Only short rooms are examined."""
        found: list[str] = []
        for start in range(0, len(rooms), SCREEN_STEP):
            step = rooms[start : start + SCREEN_STEP]
            replies = await self._router.calls("searches", [self._screen(room) for room in step])
            for room, texts in zip(step, replies, strict=True):
                messages = [] if texts is None else decode_texts(room, texts)
                if texts is None or await choose(messages, Filter(where.search), 1):
                    found.append(room)
            await asyncio.sleep(0)
        return found

    def _screen(self, room: str) -> SlotCommand:
        names = self._names.of(room)
        return SlotCommand(self.slot(room), _SCREEN([names.meta, names.log], [SCREEN_MESSAGES, SCREEN_BYTES]))

    async def _recheck(self, request: _Request, where: Filter, found: Page) -> Page:
        """Read what a search found again, as one snapshot: messages may have been changed since they were examined."""
        in_order = found.messages if request.is_forward else found.messages[::-1]
        chosen = tuple(message.seq for message in in_order)
        page = await self._page("searches", request._replace(limit=len(chosen), source=CHOSEN, chosen=chosen))
        if page.head.epoch != found.head.epoch:
            return await self._search(request, where)
        messages = [message for message in page.messages if where.matches(message)]
        return Page(page.head, messages, complete=found.complete and page.complete)

    async def rooms(self, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        """List the rooms; see `Backend.rooms`."""
        if end == next_name(start):
            return await self._read_infos([start])
        found: list[RoomInfo] = []
        names = await self._sorted_names(may_be_old=bool(start) or limit is not None)
        at = bisect_left(names, start)
        last = len(names) if end is None else bisect_left(names, end)
        while at < last and (limit is None or len(found) < limit):
            n_wanted = min(ROOMS_STEP, last - at, ROOMS_STEP if limit is None else limit - len(found))
            found += await self._read_infos(names[at : at + n_wanted])
            at += n_wanted
        return found

    async def heads(self, rooms: Iterable[str]) -> dict[str, Head]:
        """Return the heads of rooms; see `Backend.heads`."""
        heads: dict[str, Head] = {}
        names = iter(rooms)
        while step := list(islice(names, ROOMS_STEP)):
            heads |= {info.room: info.head for info in await self._read_infos(step)}
        return heads

    async def _read_infos(self, rooms: Sequence[str]) -> list[RoomInfo]:
        fields = ("epoch", "last", "dropped", "time")
        calls = [SlotCommand(self.slot(room), ("HMGET", self._names.of(room).meta, *fields)) for room in rooms]
        replies = await self._router.calls("searches", calls)
        return [
            RoomInfo(room, Head(epoch.decode(), int(dropped or 0) + 1, int(last)), int(time_ms))
            for room, (epoch, last, dropped, time_ms) in zip(rooms, replies, strict=True)
            if epoch is not None and int(last or 0)
        ]

    async def _sorted_names(self, *, may_be_old: bool) -> list[str]:
        """Return the names of all rooms; if there are many, and if they may be old, those of some seconds ago."""
        if not may_be_old or len(self._listed) < MANY_ROOMS or monotonic() > self._listed_until_s:
            self._listed = sorted(await self.room_names())
            self._listed_until_s = monotonic() + LISTED_S
        return self._listed

    async def room_names(self, *, of_related: bool = False) -> list[str]:
        """Return the names of all rooms, or of those with messages that refer to others or mention names.

        SCAN examines every key, a step at a time, so that it blocks no other call.

        There is no list of rooms to read instead: on a cluster, the list would be on one node, and scripts that run on
        other nodes could not write to it.
        """
        await self._router.discover()
        names: dict[str, None] = {}
        part, kind = ("refs", "zset") if of_related else ("meta", "hash")
        for address in self._router.topology.masters():
            cursor = b"0"
            while True:
                scan = ("SCAN", cursor, "MATCH", self._names.pattern_of(part), "COUNT", ROOMS_STEP, "TYPE", kind)
                cursor, keys = await self._router.call_at("searches", address, scan)
                for key in keys:
                    with suppress(UnicodeDecodeError):  # the key belongs to another application
                        names[self._names.room(key)] = None
                if cursor == b"0":
                    break
        return list(names)


def _decode_page(request: _Request, found: Reply) -> Page:
    """Decode the answer of the script, which was asked for one message more than the limit."""
    if found is None:
        return Page(Head(NO_EPOCH, 1, 0), [], complete=True)
    head = Head(found[0].decode(), found[1], found[2])
    messages = show_states(decode_entries(request.room, head.epoch, found[3], found[4]), found[6])
    is_complete = len(messages) <= request.limit and not found[5]
    messages = messages[: request.limit] if request.is_forward else messages[-request.limit :]
    return Page(head, messages, complete=is_complete)


def _source(where: Filter | None) -> bytes:
    """Return the source in which a folded read finds its messages with the least work."""
    if where is not None and where.of is not None:
        return replies_to(where.of)
    return PINNED if where is not None and where.pinned else ALL_MESSAGES
