"""Log: what is done with rooms in Redis, a script each. Knows no news, and no connection."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from chatkit.backends.memory import choose
from chatkit.backends.redis.codec import (
    KeyNames,
    RoomPosition,
    decode_entries,
    decode_entry,
    encode,
    encode_draft,
    encode_key,
    encode_left,
)
from chatkit.backends.redis.connection import Command, Reply, Word
from chatkit.backends.redis.router import Lane, Router, SlotCommand
from chatkit.backends.redis.scripts import Script
from chatkit.core.backend import Filter, Page, RoomInfo, new_epoch
from chatkit.core.model import Draft, Head, Message, Receipt
from chatkit.core.page_size import MAX_PAGE_BYTES, cut_page, size_of
from chatkit.core.repeat import repeat_of
from chatkit.errors import NotFound, StoreError, Unavailable

NO_EPOCH = "none"  # of a room that is not there; those of rooms that are have eight letters
BEYOND = 2**62  # a number that no message has
SCAN_STEP = 500  # messages that a search looks at in one round trip: some milliseconds of the server's, and of ours
TRIM_STEP = 1_000  # messages dropped by one script: about a millisecond, which an append can wait
SCRUB_STEP = 500  # messages that one script copies: a millisecond or two, which an append can wait
ROOMS_STEP = 1_000  # keys that one SCAN looks at, and rooms asked for in one round trip
REDACTION = "-"  # in the place of a call's name: every process hears it, this one, too
WAIT_MS = 3_000  # for replicas: less than a link waits for an answer

_APPEND, _READ, _REDACT, _SCRUB, _TRIM = map(Script, ("append", "read", "redact", "scrub", "trim"))


class RedisWriter:
    """Rooms, on the servers of `nodes`. `publish` is the command that does it."""

    def __init__(self, nodes: Router, names: KeyNames, *, keeps_history: bool, replicas: int) -> None:
        self._nodes = nodes
        self._names = names
        self._is_kept = int(keeps_history)
        self._then: list[Command] = [("WAIT", replicas, WAIT_MS)] if replicas else []
        self._replicas = replicas
        self.publish = "SPUBLISH"

    def _slot(self, room: str) -> int:
        return self._nodes.place.slot(self._names.of(room).meta)

    # Appending

    async def append(self, drafts: Sequence[Draft], known: Callable[[str], RoomPosition], name: str) -> list[Receipt]:
        """Append drafts; see `Backend.append`. `known` says how far a room has been seen; news bear the `name`."""
        rooms: dict[str, list[int]] = {}
        for n, draft in enumerate(drafts):
            rooms.setdefault(draft.room, []).append(n)
        slots: dict[int, list[str]] = {}
        for room in rooms:
            slots.setdefault(self._slot(room), []).append(room)
        epoch = new_epoch()
        calls = [
            SlotCommand(
                slot, self._append_command(name, epoch, [(room, rooms[room], known(room)) for room in names], drafts)
            )
            for slot, names in slots.items()
        ]
        try:
            replies = await self._nodes.calls("writes", calls, then=self._then)
        except StoreError as error:
            if len(calls) > 1:  # the rooms of other slots may have their messages
                raise Unavailable(str(error)) from error
            raise
        if any(reached < self._replicas for reached in replies[len(calls) :]):
            raise Unavailable(f"fewer than {self._replicas} replicas have the messages: nobody can tell if they last")
        receipts: dict[int, Receipt] = {}
        for names, reply in zip(slots.values(), replies, strict=False):
            for room, of_room in zip(names, reply, strict=True):
                receipts |= _receipts(room, of_room, rooms[room], drafts)
        return [receipts[n] for n in range(len(drafts))]

    def _append_command(
        self, name: str, epoch: str, rooms: Iterable[tuple[str, list[int], RoomPosition]], drafts: Sequence[Draft]
    ) -> Command:
        keys: list[bytes] = []
        arguments: list[Word] = [self.publish, name, epoch, self._is_kept]
        for room, numbers, known in rooms:
            keys += self._names.of(room)
            arguments += (known.epoch, known.last, len(numbers))
            for n in numbers:
                draft = drafts[n]
                arguments += (encode_key(draft), encode_draft(draft))
        return _APPEND(keys, arguments)

    # Reading

    async def read(self, room: str, after: int | None, before: int | None, limit: int, where: Filter | None) -> Page:
        """Read a page; see `Backend.read`."""
        low = min(max(after or 0, 0), BEYOND)
        high = BEYOND if before is None else min(before, BEYOND)
        if where is None or where == Filter():
            return await self._page("pages", room, low, high, limit, is_forward=after is not None)
        return await self._search(room, low, high, limit, where, is_forward=after is not None)

    async def _page(self, lane: Lane, room: str, low: int, high: int, limit: int, *, is_forward: bool) -> Page:
        """Read messages between two numbers, both exclusive."""
        names = self._names.of(room)
        start, stop = (low + 1, high - 1) if 0 <= low < high - 1 < BEYOND else (1, 0)
        limit = min(limit, BEYOND)
        arguments: list[Word] = [new_epoch(), start, stop, limit + 1, int(not is_forward), MAX_PAGE_BYTES]
        found = await self._nodes.call(lane, self._slot(room), _READ(list(names[:4]), arguments))
        if found is None:
            return Page(Head(NO_EPOCH, 1, 0), [], complete=True)
        head = Head(found[0].decode(), found[1], found[2])
        messages = decode_entries(room, head.epoch, found[3], found[4])
        is_complete = len(messages) <= limit and not found[5]
        messages = messages[:limit] if is_forward else messages[-limit:]
        return Page(head, messages, complete=is_complete)

    async def _search(self, room: str, low: int, high: int, limit: int, where: Filter, *, is_forward: bool) -> Page:
        """Read step by step, and choose. What is appended meanwhile is not looked at."""
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
            if page.head.epoch != first.head.epoch:  # another life of the room: what was found is of the old one
                return await self._search(room, low, BEYOND, limit, where, is_forward=is_forward)
        messages = cut_page(found[:limit], is_forward=True)
        is_complete = len(messages) == len(found) and (page.complete or not page.messages)
        return Page(first.head, messages if is_forward else messages[::-1], complete=is_complete)

    async def rooms(self) -> list[RoomInfo]:
        """List the rooms; see `Backend.rooms`."""
        found: dict[str, RoomInfo] = {}
        names = await self._room_names()
        for start in range(0, len(names), ROOMS_STEP):
            step = names[start : start + ROOMS_STEP]
            fields = ("epoch", "last", "dropped", "time")
            calls = [SlotCommand(self._slot(room), ("HMGET", self._names.of(room).meta, *fields)) for room in step]
            for room, (epoch, last, dropped, time_ms) in zip(
                step, await self._nodes.calls("searches", calls), strict=True
            ):
                if epoch is not None and int(last or 0):
                    head = Head(epoch.decode(), int(dropped or 0) + 1, int(last))
                    found[room] = RoomInfo(room, head, int(time_ms))
        return [found[room] for room in sorted(found)]

    async def _room_names(self) -> list[str]:
        """Find every room. SCAN looks at all keys there are, a step at a time, so that nothing waits for it.

        A list of rooms would have to be on one node of a cluster, and be written to by another node's script.
        """
        await self._nodes.find()
        names: dict[str, None] = {}
        for address in self._nodes.place.masters():
            cursor = b"0"
            while True:
                scan: Command = ("SCAN", cursor, "MATCH", self._names.pattern, "COUNT", ROOMS_STEP, "TYPE", "hash")
                cursor, keys = await self._nodes.at("searches", address, scan)
                for key in keys:
                    with suppress(UnicodeDecodeError):  # then it is another's
                        names[self._names.room(key)] = None
                if cursor == b"0":
                    break
        return list(names)

    async def typing(self, room: str, sender: str, name: str) -> None:
        """Publish that somebody is writing."""
        command: Command = (self.publish, self._names.of(room).channel, encode((name, "T", sender)))
        await self._nodes.call("presence", self._slot(room), command)

    # Taking away

    async def redact(self, room: str, seq: int) -> Message:
        """Take away a message's body; see `Backend.redact`."""
        while True:
            page = await self._page("pages", room, seq - 1, seq + 1, 1, is_forward=True)
            if not page.messages:
                raise NotFound(f"there is no message {seq} in {room!r}")
            (message,) = page.messages
            if message.redacted:
                await self._scrub(room)
                return message
            arguments: list[Word] = [self.publish, REDACTION, page.head.epoch, seq, encode_left(message)]
            names = self._names.of(room)
            keys = [names.meta, names.log, names.gone, names.channel]
            await self._nodes.call("writes", self._slot(room), _REDACT(keys, arguments))

    async def _scrub(self, room: str) -> None:
        """Write the stream anew where it was redacted since it last was: a deleted entry's bytes stay in its block."""
        names = self._names.of(room)
        copy = names.log + b":" + new_epoch().encode()
        reached: Reply = 0
        count: Reply = b""  # redactions when this began; another one meanwhile begins it again
        while reached is not None:
            command = _SCRUB([names.meta, names.log, copy], [count, reached, SCRUB_STEP])
            count, reached = await self._nodes.call("writes", self._slot(room), command)

    async def trim(self, room: str | None, keep: int | None, before_ms: int | None) -> int:
        """Drop messages that are too many or too old; see `Backend.trim`."""
        n_dropped = 0
        rooms = await self._room_names() if room is None else [room]
        looked: dict[str, int] = {}  # rooms that are not done, and from which number on to look for old messages
        arguments: list[Word] = ["" if keep is None else keep, "" if before_ms is None else before_ms, TRIM_STEP]
        while rooms:
            step, rooms = rooms[:ROOMS_STEP], rooms[ROOMS_STEP:]
            calls = [
                SlotCommand(self._slot(room), _TRIM(list(self._names.of(room)[:4]), [*arguments, looked.get(room, 0)]))
                for room in step
            ]
            replies = await self._nodes.calls("writes", calls)
            n_dropped += sum(dropped for dropped, *_ in replies)
            looked = {room: look_on for room, (_, more, look_on) in zip(step, replies, strict=True) if more}
            rooms = [*looked, *rooms]
        return n_dropped

    async def expire(self, rooms: Iterable[str], after_s: float) -> None:
        """Have Redis delete rooms after so many seconds, unless they are appended to before."""
        after_ms = round(after_s * 1000)
        await self._nodes.calls("writes", [call for room in rooms for call in self._expiries(room, after_ms)])

    def _expiries(self, room: str, after_ms: int) -> list[SlotCommand]:
        names = self._names.of(room)
        # The key that makes the room exist goes last.
        keys = (names.log, names.keys, names.gone, names.meta)
        return [SlotCommand(self._slot(room), ("PEXPIRE", key, after_ms)) for key in keys]


def _receipts(room: str, reply: Reply, numbers: list[int], drafts: Sequence[Draft]) -> dict[int, Receipt]:
    """Make the receipts of one room's drafts from what the script answered."""
    epoch, time_ms, seq = reply[0].decode(), int(reply[1]), reply[2]
    receipts = {
        numbers[place]: repeat_of(drafts[numbers[place]], decode_entry(room, epoch, stored, parts))
        for place, stored, parts in reply[3:]
    }
    for n in numbers:
        if n not in receipts:
            draft = drafts[n]
            receipts[n] = Receipt(Message(room, epoch, seq, time_ms, draft.sender, draft.body, draft.data, draft.key))
            seq += 1
    return receipts
