"""RedisReader: pages, searches and the list of rooms. Knows nothing of subscriptions."""

from contextlib import suppress

from chatkit.backends.memory import choose
from chatkit.backends.redis.codec import KeyNames, decode_entries
from chatkit.backends.redis.router import Purpose, Router, SlotCommand
from chatkit.backends.redis.scripts import Script
from chatkit.core.backend import Filter, Page, RoomInfo, new_epoch
from chatkit.core.model import Head, Message
from chatkit.core.page_size import MAX_PAGE_BYTES, cut_page, size_of

NO_EPOCH = "none"  # epoch of a missing room; real epochs have more characters
BEYOND = 2**62  # larger than any seq
SCAN_STEP = 500  # messages that a search examines in one round trip: some milliseconds of server and client
ROOMS_STEP = 1_000  # keys examined by one SCAN, and rooms read or trimmed in one round trip

_READ = Script("read")


class RedisReader:
    """Reads the rooms on the servers of `router`."""

    def __init__(self, router: Router, names: KeyNames) -> None:
        self._router = router
        self._names = names

    def slot(self, room: str) -> int:
        """Return the slot of a room's keys."""
        return self._router.topology.slot(self._names.of(room).meta)

    async def read(self, room: str, after: int | None, before: int | None, limit: int, where: Filter | None) -> Page:
        """Read a page; see `Backend.read`."""
        low = min(max(after or 0, 0), BEYOND)
        high = BEYOND if before is None else min(before, BEYOND)
        if where is None or where == Filter():
            return await self._page("pages", room, low, high, limit, is_forward=after is not None)
        return await self._search(room, low, high, limit, where, is_forward=after is not None)

    async def read_one(self, room: str, seq: int) -> Message | None:
        """Read one message; return None if it does not exist."""
        page = await self._page("pages", room, seq - 1, seq + 1, 1, is_forward=True)
        return page.messages[0] if page.messages else None

    async def _page(self, purpose: Purpose, room: str, low: int, high: int, limit: int, *, is_forward: bool) -> Page:
        """Read messages between two seqs, both exclusive."""
        names = self._names.of(room)
        start, stop = (low + 1, high - 1) if 0 <= low < high - 1 < BEYOND else (1, 0)
        limit = min(limit, BEYOND)
        command = _READ(list(names[:4]), [new_epoch(), start, stop, limit + 1, int(not is_forward), MAX_PAGE_BYTES])
        found = await self._router.call(purpose, self.slot(room), command)
        if found is None:
            return Page(Head(NO_EPOCH, 1, 0), [], complete=True)
        head = Head(found[0].decode(), found[1], found[2])
        messages = decode_entries(room, head.epoch, found[3], found[4])
        is_complete = len(messages) <= limit and not found[5]
        messages = messages[:limit] if is_forward else messages[-limit:]
        return Page(head, messages, complete=is_complete)

    async def _search(self, room: str, low: int, high: int, limit: int, where: Filter, *, is_forward: bool) -> Page:
        """Read step by step, and filter. Messages that are appended during the search are not examined."""
        first = await self._page("searches", room, low, high, SCAN_STEP, is_forward=is_forward)
        high = min(high, first.head.last + 1)
        found: list[Message] = []  # in the order of reading
        page = first
        while True:
            read = page.messages if is_forward else page.messages[::-1]
            found += await choose(read, where, limit + 1 - len(found))
            if len(found) > limit or page.complete or not page.messages or sum(map(size_of, found)) > MAX_PAGE_BYTES:
                break
            if is_forward:
                low = page.messages[-1].seq
            else:
                high = page.messages[0].seq
            page = await self._page("searches", room, low, high, SCAN_STEP, is_forward=is_forward)
            if page.head.epoch != first.head.epoch:  # the log was started again: the messages found are of the old one
                return await self._search(room, low, BEYOND, limit, where, is_forward=is_forward)
        messages = cut_page(found[:limit], is_forward=True)
        is_complete = len(messages) == len(found) and (page.complete or not page.messages)
        return Page(first.head, messages if is_forward else messages[::-1], complete=is_complete)

    async def rooms(self) -> list[RoomInfo]:
        """List the rooms; see `Backend.rooms`."""
        found: dict[str, RoomInfo] = {}
        names = await self.room_names()
        for start in range(0, len(names), ROOMS_STEP):
            step = names[start : start + ROOMS_STEP]
            fields = ("epoch", "last", "dropped", "time")
            calls = [SlotCommand(self.slot(room), ("HMGET", self._names.of(room).meta, *fields)) for room in step]
            for room, (epoch, last, dropped, time_ms) in zip(
                step, await self._router.calls("searches", calls), strict=True
            ):
                if epoch is not None and int(last or 0):
                    head = Head(epoch.decode(), int(dropped or 0) + 1, int(last))
                    found[room] = RoomInfo(room, head, int(time_ms))
        return [found[room] for room in sorted(found)]

    async def room_names(self) -> list[str]:
        """Return the names of all rooms. SCAN examines every key, a step at a time, so that it blocks no other call.

        There is no list of rooms to read instead: on a cluster, the list would be on one node, and scripts that run on
        other nodes could not write to it.
        """
        await self._router.discover()
        names: dict[str, None] = {}
        for address in self._router.topology.masters():
            cursor = b"0"
            while True:
                scan = ("SCAN", cursor, "MATCH", self._names.pattern, "COUNT", ROOMS_STEP, "TYPE", "hash")
                cursor, keys = await self._router.call_at("searches", address, scan)
                for key in keys:
                    with suppress(UnicodeDecodeError):  # the key belongs to another application
                        names[self._names.room(key)] = None
                if cursor == b"0":
                    break
        return list(names)
