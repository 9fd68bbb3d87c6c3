"""Consumers: named positions in rooms that a store keeps for programs, with leases on what their workers have taken.

A consumer is a record, changed by compare-and-set, so workers of any process share it. A message is taken by one worker
at a time; what a worker does not settle before its lease runs out is taken again. So each message is handled at least
once. A message that failed too often is reported in the room `ROOM.failed`. Nothing is kept here for those at rest.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from chatkit.core.access_records import BAN, TOKEN
from chatkit.core.access_table import AccessTable
from chatkit.core.backend import Backend
from chatkit.core.consumer import (
    FAILED_SUFFIX,
    Consumer,
    ConsumerContext,
    ConsumerStatus,
    OwnerCheck,
    Store,
    Subscribe,
    check_range,
)
from chatkit.core.consumer_records import CONSUMER, ConsumerRecords, decode, key_of, parse_key
from chatkit.core.consumer_state import ConsumerState
from chatkit.core.model import MAX_ROOM_CHARS, Cursor, Head
from chatkit.core.records import RecordChanges
from chatkit.errors import BadRequest

MAX_CONSUMERS: Final = 10_000  # in a room: a list of them has a few megabytes
MAX_RETRIES: Final = 1_000
AT_ONCE: Final = 200  # records decoded in one turn of the event loop

Start: TypeAlias = Cursor | Literal["start", "end"]


def allow_everybody(_owner: str) -> None:
    """Allow the use of any consumer."""


class Consumers:
    """The consumers of all rooms, over one backend."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        subscribe: Subscribe,
        now_ms: Callable[[], int],
        access: AccessTable,
    ) -> None:
        self._backend = backend
        self._records = ConsumerRecords(store)
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._context = ConsumerContext(backend, store, self._records, subscribe, now_ms, self._waiters, access)

    def consumer(self, room: str, name: str, *, check: OwnerCheck = allow_everybody, token_id: str = "") -> Consumer:
        """Return a consumer for a worker, who uses it with a token, if `token_id` names one.

        Raise `BadRequest` for an invalid name. The consumer need not exist.
        """
        return Consumer(self._context, room, name, check, token_id)

    async def put(
        self,
        room: str,
        name: str,
        *,
        owner: str,
        after: Start | None = None,
        only_if_missing: bool = False,
        retries: int | None = None,
        ordered: bool | None = None,
        check: OwnerCheck = allow_everybody,
    ) -> tuple[ConsumerStatus, bool]:
        """Make a consumer or change it; return its status, and whether it was made.

        Without `after`, a new consumer starts at the end of the log, and one that exists keeps its position. With it,
        one that exists is moved there and its leases end, unless `only_if_missing`. Raise `BadRequest` for an invalid
        name, in a store without history, and if the room has too many consumers.
        """
        key = key_of(room, name)
        self._check_room(room)
        if retries is not None:
            check_range("retries", retries, 0, MAX_RETRIES)
        head = (await self._backend.read(room, limit=1)).head
        is_new = False

        async def changed(state: ConsumerState | None) -> ConsumerState:
            nonlocal is_new
            is_new = state is None
            if state is None:
                await self._check_number(room)
                state = ConsumerState.at(owner, _position(after or "end", head))
            else:
                check(state.owner)
                if after is not None and not only_if_missing:
                    state = state.seek(_position(after, head))
            return replace(
                state,
                retries=state.retries if retries is None else retries,
                ordered=state.ordered if ordered is None else ordered,
            )

        state = await self._records.update(key, changed)
        return ConsumerStatus.of(room, name, state, head), is_new

    async def statuses(self, room: str | None = None) -> list[ConsumerStatus]:
        """Return the consumers of a room, or of all, in the order of rooms and names."""
        records = await self._records.scan(room)
        heads = await self._backend.heads({parse_key(record.key)[0] for record in records})
        found = []
        for index, record in enumerate(records):
            if index % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            state = decode(record)
            if state is not None:
                in_room, name = parse_key(record.key)
                found.append(ConsumerStatus.of(in_room, name, state, heads.get(in_room)))
        return found

    def apply(self, changes: RecordChanges) -> None:
        """Wake the workers that wait for consumers that were changed, or whose leases a change of access may end."""
        if not self._waiters:
            return
        if any(record.kind in {TOKEN, BAN} for record in changes.records):
            keys: Iterable[str] = tuple(self._waiters)
        else:
            keys = [record.key for record in changes.records if record.kind == CONSUMER]
        for key in keys:
            for changed in self._waiters.get(key, ()):
                changed.set()

    def _check_room(self, room: str) -> None:
        if not self._backend.keeps_history:
            raise BadRequest("this store keeps no history, so it has no consumers")
        if len(room) + len(FAILED_SUFFIX) > MAX_ROOM_CHARS:
            raise BadRequest(
                f"the name of a room with consumers has at most {MAX_ROOM_CHARS - len(FAILED_SUFFIX)} characters"
            )

    async def _check_number(self, room: str) -> None:
        if len(await self._records.scan(room)) >= MAX_CONSUMERS:
            raise BadRequest(f"a room has at most {MAX_CONSUMERS} consumers")


def _position(start: Start, head: Head) -> Cursor:
    match start:
        case "start":
            return Cursor(head.epoch, head.first - 1)
        case "end":
            return Cursor(head.epoch, head.last)
        case _:
            if start.epoch == head.epoch and start.seq > head.last:
                raise BadRequest(f"{start} is behind the end of the room, whose last message is {head.last}")
            return start
