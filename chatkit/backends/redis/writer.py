"""RedisWriter: appends, redacts, trims, loads and expires messages, deletes rooms, and publishes typing.

Each change of a room is one script. Knows nothing of subscriptions.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from chatkit.backends.redis.codec import (
    KeyNames,
    RoomPosition,
    decode_entry,
    encode,
    encode_draft,
    encode_key,
    encode_tombstone,
    is_related,
)
from chatkit.backends.redis.connection import Command, Reply, Word
from chatkit.backends.redis.moving import RoomMove
from chatkit.backends.redis.reader import RedisReader
from chatkit.backends.redis.router import Router, SlotCommand
from chatkit.backends.redis.scripts import Script
from chatkit.backends.renaming import check_rename
from chatkit.core.backend import new_epoch
from chatkit.core.loading import check_load, choose_new
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Head, Message, Receipt
from chatkit.core.repeat import repeat_of
from chatkit.errors import KeyConflict, NotFound, StoreError, Unavailable

# Messages dropped in one round trip, for which an append can wait: of short ones, a thousand take a millisecond, but a
# hundred of the largest take several. So the number follows the time that the last step took.
TRIM_STEPS = (50, 1_000)  # the fewest, and the most
TRIM_STEP_S = 0.005
TRIM_ROOMS = 50  # in one round trip: Redis runs the scripts of one without a pause
SCRUB_STEP = 500  # messages that one script copies: a millisecond or two, for which an append can wait
ADMINISTRATION = "-"  # replaces the append's id: every process handles the publication, including this one
N_RELATED = 4  # the place of their number in the arguments of an append
WAIT_MS = 3_000  # for replicas: less than a connection's time-out for an answer

MORE = 2  # the answer to a step of a redaction after which there may be another

_APPEND, _DELETE, _RENAME, _SCRUB = map(Script, ("append", "delete", "rename", "scrub"))
_APPEND_RELATED, _LOAD, _REDACT, _TRIM = (Script("relations", name) for name in ("append", "load", "redact", "trim"))


class RedisWriter:
    """Writes to the rooms on the servers of `router`. `publish_command` is PUBLISH or SPUBLISH."""

    def __init__(
        self, router: Router, reader: RedisReader, names: KeyNames, *, keeps_history: bool, replicas: int
    ) -> None:
        self._router = router
        self._reader = reader
        self._names = names
        self._is_kept = int(keeps_history)
        self._then: list[Command] = [("WAIT", replicas, WAIT_MS)] if replicas else []
        self._replicas = replicas
        self.publish_command = "SPUBLISH"

    async def append(
        self, drafts: Sequence[Draft], position: Callable[[str], RoomPosition], append_id: str
    ) -> list[Receipt]:
        """Append drafts; see `Backend.append`.

        `position` returns a room's last known position. Publications begin with `append_id`.
        """
        rooms: dict[str, list[int]] = {}
        for n, draft in enumerate(drafts):
            rooms.setdefault(draft.room, []).append(n)
        slots: dict[int, list[str]] = {}
        for room in rooms:
            slots.setdefault(self._reader.slot(room), []).append(room)
        calls = [
            SlotCommand(
                slot,
                self._append_command(append_id, [(room, rooms[room], position(room)) for room in names], drafts),
            )
            for slot, names in slots.items()
        ]
        try:
            replies = await self._router.calls("writes", calls, then=self._then)
        except StoreError as error:
            if len(calls) > 1:  # the rooms of other slots may have their messages
                raise Unavailable(str(error)) from error
            raise
        self._check_replicas(replies[len(calls) :])
        receipts: dict[int, Receipt] = {}
        for names, reply in zip(slots.values(), replies, strict=False):
            for room, of_room in zip(names, reply, strict=True):
                receipts |= _receipts(room, of_room, rooms[room], drafts)
        return [receipts[n] for n in range(len(drafts))]

    async def write(self, slot: int, command: Command) -> Reply:
        """Send a command whose effect must be as durable as a message; return its answer."""
        reply, *reached = await self._router.calls("writes", [SlotCommand(slot, command)], then=self._then)
        self._check_replicas(reached)
        return reply

    def _check_replicas(self, reached: Sequence[int]) -> None:
        if any(n_replicas < self._replicas for n_replicas in reached):
            raise Unavailable(f"fewer than {self._replicas} replicas have the messages, which may be lost")

    def _append_command(
        self, append_id: str, rooms: Iterable[tuple[str, list[int], RoomPosition]], drafts: Sequence[Draft]
    ) -> Command:
        keys: list[bytes] = []
        arguments: list[Word] = [self.publish_command, append_id, new_epoch(), self._is_kept, 0]
        related: list[Word] = []
        for room, numbers, known in rooms:
            keys += self._names.of(room)
            arguments += (known.epoch, known.last, len(numbers))
            for n in numbers:
                draft = drafts[n]
                arguments += (encode_key(draft), encode_draft(draft))
                if (draft.of is not None or draft.mentions) and self._is_kept:
                    related.append(len(arguments))
        arguments[N_RELATED] = len(related)
        return (_APPEND_RELATED if related else _APPEND)(keys, arguments + related)

    async def typing(self, room: str, sender: str, process: str) -> None:
        """Publish that a sender is typing."""
        command: Command = (self.publish_command, self._names.of(room).channel, encode((process, "T", sender)))
        await self._router.call("presence", self._reader.slot(room), command)

    async def redact(self, room: str, seq: int) -> Message:
        """Delete a message's body; see `Backend.redact`."""
        while True:
            message = await self._reader.read_one(room, seq)
            if message is None:
                raise NotFound(f"there is no message {seq} in {room!r}")
            await self._bury(message)
            if message.redacted:
                await self._scrub(room)
                return message

    async def _bury(self, message: Message) -> None:
        """Replace a message and its edits by tombstones, and remove what refers to it."""
        names = self._names.of(message.room)
        keys = [names.meta, names.log, names.gone, names.refs, names.channel]
        tombstone = b"" if message.redacted else encode_tombstone(message)
        edited = message.of if message.of is not None and message.act is Act.EDIT else ""
        outcome: Reply = MORE
        while outcome == MORE:
            arguments: list[Word] = [message.epoch, message.seq, tombstone, edited]
            command = _REDACT(keys, [self.publish_command, ADMINISTRATION, *arguments])
            outcome = await self._router.call("writes", self._reader.slot(message.room), command)
            tombstone = b""

    async def _scrub(self, room: str) -> None:
        """Rewrite the stream if it was redacted since the last rewrite: a deleted entry's bytes stay in its block."""
        names = self._names.of(room)
        copy = names.log + b":" + new_epoch().encode()
        reached: Reply = 0
        count: Reply = b""  # number of redactions at the start; another redaction starts the copy again
        while reached is not None:
            command = _SCRUB([names.meta, names.log, copy], [count, reached, SCRUB_STEP])
            count, reached = await self._router.call("writes", self._reader.slot(room), command)

    async def trim(self, room: str | None, keep: int | None, before_ms: int | None) -> int:
        """Drop messages beyond a number or an age; see `Backend.trim`."""
        n_dropped = 0
        rooms = await self._reader.room_names() if room is None else [room]
        examined: dict[str, int] = {}  # unfinished rooms, and the seq at which the search for old messages continues
        limits: list[Word] = ["" if keep is None else keep, "" if before_ms is None else before_ms]
        size, start = TRIM_STEPS[0], 0
        while start < len(rooms):
            step = rooms[start : start + TRIM_ROOMS]
            calls = [
                SlotCommand(
                    self._reader.slot(room),
                    _TRIM(self._names.of(room).stored, [*limits, max(size // len(step), 1), examined.get(room, 0)]),
                )
                for room in step
            ]
            began_s = time.monotonic()
            replies = await self._router.calls("writes", calls)
            size = _next_trim_size(size, time.monotonic() - began_s)
            n_dropped += sum(dropped for dropped, *_ in replies)
            examined = {room: next_seq for room, (_, more, next_seq) in zip(step, replies, strict=True) if more}
            start += len(step) - len(examined)
            rooms[start : start + len(examined)] = examined
        return n_dropped

    async def delete_room(self, room: str) -> bool:
        """Delete a room; see `Backend.delete_room`."""
        arguments: list[Word] = [self.publish_command, ADMINISTRATION, new_epoch()]
        return bool(await self.write(self._reader.slot(room), _DELETE(list(self._names.of(room)), arguments)))

    async def rename_room(self, room: str, new: str) -> bool:
        """Move the log of a room to another name; see `Backend.rename_room`."""
        check_rename(room, new, is_taken=False)
        slot = self._reader.slot(room)
        if self._reader.slot(new) != slot:
            return await self.make_move(room, new).run()
        arguments: list[Word] = [self.publish_command, ADMINISTRATION, new_epoch()]
        outcome = await self.write(slot, _RENAME([*self._names.of(room), *self._names.of(new)], arguments))
        check_rename(room, new, is_taken=outcome < 0)
        return bool(outcome)

    def make_move(self, room: str, new: str) -> RoomMove:
        """Return a move of a room to a name in another slot of the cluster, not yet begun."""
        return RoomMove(self._router, self.write, self._names, room, new, publish=self.publish_command)

    async def load(self, messages: Sequence[Message]) -> int:
        """Store messages of another store; see `Backend.load`."""
        check_load(messages)
        if not messages:
            return 0
        room = messages[0].room
        arguments: list[Word] = [self.publish_command, ADMINISTRATION, new_epoch(), messages[0].seq]
        for message in messages:
            kind, text = ("g", encode_tombstone(message)) if message.redacted else ("m", encode_draft(message))
            kind = kind.upper() if is_related(message) else kind
            arguments += (message.time_ms, encode_key(message), kind, text)
        command = _LOAD(list(self._names.of(room)), arguments)
        n_loaded, first, last, *used = await self.write(self._reader.slot(room), command)
        if used:
            raise KeyConflict(used[0].partition(b"\n")[0].decode())
        choose_new(messages, Head("", first, last))  # raises for messages that do not follow
        return int(n_loaded)

    async def expire(self, rooms: Iterable[str], after_s: float) -> None:
        """Set a time after which Redis deletes rooms, unless they are appended to before."""
        after_ms = round(after_s * 1000)
        await self._router.calls("writes", [call for room in rooms for call in self._expiries(room, after_ms)])

    def _expiries(self, room: str, after_ms: int) -> list[SlotCommand]:
        keys = reversed(self._names.of(room).stored)  # `meta` is last: while it is there, the room exists
        return [SlotCommand(self._reader.slot(room), ("PEXPIRE", key, after_ms)) for key in keys]


def _receipts(room: str, reply: Reply, numbers: list[int], drafts: Sequence[Draft]) -> dict[int, Receipt]:
    """Make the receipts of one room's drafts from the script's answer."""
    epoch, time_ms, seq = reply[0].decode(), int(reply[1]), reply[2]
    receipts = {
        numbers[index]: repeat_of(drafts[numbers[index]], decode_entry(room, epoch, stored, parts))
        for index, stored, parts in reply[3:]
    }
    for n in numbers:
        if n not in receipts:
            receipts[n] = Receipt(drafts[n].to_message(epoch, seq, time_ms))
            seq += 1
    return receipts


def _next_trim_size(size: int, took_s: float) -> int:
    """Return how many messages the next step of a trim drops, by the time that the last one took."""
    fewest, most = TRIM_STEPS
    return max(size // 2, fewest) if took_s > TRIM_STEP_S else min(size * 2, most)
