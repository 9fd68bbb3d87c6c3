"""RoomMove: renames a room of a Redis Cluster to a name in another slot. No script can change two slots at once.

1. The room is marked as `moving`: it can be read, and everything that changes it waits and is then refused.
2. Its keys are copied to the slot of the new name, under names that nobody else uses.
3. The new name is marked as `arriving`: all calls for it wait and are then refused, also reads.
4. The log of the room is removed and the room is marked as `moved`, in one script. This commits the move.
5. The copy gets the new name, and the marks are removed.

So no reader sees the log at both names, or misses it at both. Steps 3 to 5 take a few milliseconds. If a process is
killed before step 4, the same call starts again; if it is killed later, the same call completes the move. Each move has
a token, so that of two processes that move a room, one gives up.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from chatkit.backends.redis.codec import KeyNames, RoomKeys
from chatkit.backends.redis.connection import Command, Reply, Word
from chatkit.backends.redis.router import Router
from chatkit.backends.redis.scripts import Script
from chatkit.backends.renaming import check_rename
from chatkit.core.backend import new_epoch
from chatkit.errors import BadRequest, ChatkitError, Unavailable

STEP_BYTES = 1_048_576  # copied in one step, unless a single entry is larger: some milliseconds, for which appends wait
STEP_ITEMS = 500
FIRST_ITEMS = 32  # of a stream, whose entries may have the largest size
COPY_S = 3_600  # an unfinished copy expires this long after its last step
# The fields of the meta that must not have changed since the copy, and their values if they are missing.
_COMPARED: Mapping[bytes, Word] = {b"epoch": b"", b"last": 0, b"dropped": 0, b"redacted": 0}
ORIGIN = "-"  # every process handles the publications, including this one

Write: TypeAlias = Callable[[int, Command], Awaitable[Reply]]

_BEGIN, _COPY, _RESERVE, _COMMIT, _FINISH, _UNMARK = (
    Script(f"move_{step}") for step in ("begin", "copy", "reserve", "commit", "finish", "unmark")
)


class RoomMove:
    """One move of `room` to `new`. `write` sends a command that must be as durable as a message to a slot."""

    def __init__(self, router: Router, write: Write, names: KeyNames, room: str, new: str, *, publish: str) -> None:
        self._router = router
        self._write = write
        self._old = names.of(room)
        self._new = names.of(new)
        self._old_slot = router.topology.slot(self._old.meta)
        self._new_slot = router.topology.slot(self._new.meta)
        self._names = names
        self._publish = publish
        self._room = room
        self._new_name = new
        self._token = secrets.token_hex(8)
        self._head: dict[bytes, bytes] = {}

    @property
    def has_begun(self) -> bool:
        """Whether the room is marked as moving."""
        return bool(self._head)

    async def run(self) -> bool:
        """Move the room; see `Backend.rename_room`. Cancelling it before the commit undoes it."""
        if await self._complete_former():
            return True
        if not await self.begin():
            return False
        try:
            await self.copy()
        except (ChatkitError, asyncio.CancelledError):
            await self._undo()
            raise
        switch = asyncio.get_running_loop().create_task(self._switch())
        try:
            await asyncio.shield(switch)
        except asyncio.CancelledError:
            await asyncio.wait([switch])
            raise
        return True

    async def _switch(self) -> None:
        try:
            await self.reserve()
            await self.commit()
        except Unavailable:
            raise  # the move may be committed: the same call completes it
        except ChatkitError:
            await self._undo()
            raise
        await self.finish(self._token, self._new_name)

    async def _complete_former(self) -> bool:
        """Complete a move of the room that was committed; return whether it was a move to this name."""
        arriving = await self._router.call("pages", self._new_slot, ("HGET", self._new.meta, "arriving"))
        fields = ("moved", "moving", "last")
        moved, moving, last = await self._router.call("pages", self._old_slot, ("HMGET", self._old.meta, *fields))
        if moved is not None:
            token, _, name = moved.decode().partition(" ")
            return await self.finish(token, name) and name == self._new_name
        token, _, room = (arriving or b"").decode().partition(" ")
        is_lost = room == self._room and moving is None and not int(last or 0)  # Redis evicted the room
        return is_lost and await self.finish(token, self._new_name)

    async def begin(self) -> bool:
        """Refuse changes of the room from now on. Return false if it holds no log."""
        command = _BEGIN([self._old.meta], [self._token, self._new_name])
        word, *rest = await self._write(self._old_slot, command)
        if word == b"busy":
            name = rest[0].decode().partition(" ")[2]
            raise BadRequest(f"the room {self._room!r} is being renamed to {name!r}: repeat that to complete it first")
        if word == b"begun":
            self._head = dict(zip(rest[0][::2], rest[0][1::2], strict=True))
            self._head.pop(b"moving", None)
        return bool(word == b"begun")

    async def copy(self) -> None:
        """Copy the room's keys to the slot of the new name. Raise `BadRequest` if the name is taken."""
        last = await self._router.call("pages", self._new_slot, ("HGET", self._new.meta, "last"))
        check_rename(self._room, self._new_name, is_taken=int(last or 0) > 0)
        head, log, keys, gone, refs = self._copies(self._token)
        await self._add(head, "hash", [word for pair in self._head.items() for word in pair])
        async for items in self._read_stream():
            await self._add(log, "stream", items)
        for source, part in ((self._old.keys, keys), (self._old.gone, gone), (self._old.refs, refs)):
            async for items in self._read_set(source):
                await self._add(part, "set", items)

    async def _add(self, part: bytes, kind: str, items: Sequence[Word]) -> None:
        await self._write(self._new_slot, _COPY([part], [kind, COPY_S, *items]))

    async def _read_stream(self) -> AsyncIterator[list[Word]]:
        start, n_items = b"-", FIRST_ITEMS
        while True:
            command: Command = ("XRANGE", self._old.log, start, "+", "COUNT", n_items)
            entries = await self._router.call("pages", self._old_slot, command)
            if not entries:
                return
            yield [word for seq, fields in entries for word in (seq, fields[1], fields[3])]
            n_bytes = sum(len(fields[3]) for _, fields in entries)
            n_items = max(1, min(STEP_ITEMS, len(entries) * STEP_BYTES // max(n_bytes, 1)))
            start = b"(" + entries[-1][0]

    async def _read_set(self, source: bytes) -> AsyncIterator[list[Word]]:
        start = 0
        while True:
            command: Command = ("ZRANGE", source, start, start + STEP_ITEMS - 1, "WITHSCORES")
            members = await self._router.call("pages", self._old_slot, command)
            if not members:
                return
            yield [word for member, seq in members for word in (int(seq), member)]
            start += STEP_ITEMS

    async def reserve(self) -> None:
        """Let calls for the new name wait, and keep the copy. Raise `BadRequest` if the name is taken."""
        command = _RESERVE([*self._new, *self._copies(self._token)], [self._publish, f"{self._token} {self._room}"])
        is_reserved, former = await self._write(self._new_slot, command)
        check_rename(self._room, self._new_name, is_taken=not is_reserved)
        if former:  # of a process that was killed: its copy does not expire
            token = former.decode().partition(" ")[0]
            if token != self._token:
                await self._write(self._new_slot, ("UNLINK", *self._copies(token)))

    async def commit(self) -> None:
        """Remove the log from its old name. Raise `BadRequest` if another process has interfered."""
        head = [self._head.get(field, default) for field, default in _COMPARED.items()]
        arguments = [self._publish, ORIGIN, new_epoch(), f"{self._token} {self._new_name}", *head]
        if not await self._write(self._old_slot, _COMMIT([*self._old], arguments)):
            raise BadRequest(f"another process has changed or renamed the room {self._room!r}: try again")

    async def finish(self, token: str, new: str) -> bool:
        """Give the copy of a committed move to the name `new`. Return false if that was done before."""
        names = self._names.of(new)
        keys = [*names, *self._copies(token, names)]
        command = _FINISH(keys, [self._publish, ORIGIN, f"{token} {self._room}"])
        is_done = await self._write(self._router.topology.slot(names.meta), command)
        await self._write(self._old_slot, _UNMARK([self._old.meta], [f"{token} {new}"]))
        return bool(is_done)

    async def _undo(self) -> None:
        """Remove the marks of a move that was not committed. If the store is away, the next call starts again."""
        with suppress(ChatkitError):
            await self._write(self._old_slot, _UNMARK([self._old.meta], [f"{self._token} {self._new_name}"]))
            keys = [self._new.meta, *self._copies(self._token)]
            await self._write(self._new_slot, _UNMARK(keys, [f"{self._token} {self._room}"]))

    def _copies(self, token: str, names: RoomKeys | None = None) -> list[bytes]:
        names = names or self._new
        return [name + b":" + token.encode() for name in names.stored]
