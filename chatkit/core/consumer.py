"""Consumer: what the workers of one consumer do with it. They take messages with a lease, and settle them."""

import asyncio
import hashlib
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias

import msgspec

from chatkit.core.access_table import NEVER_MS, AccessTable
from chatkit.core.audit import SERVER_NAME
from chatkit.core.backend import Backend
from chatkit.core.consumer_records import ConsumerRecords, RecordStore, key_of, no_such_consumer
from chatkit.core.consumer_state import (
    MAX_DELAY_S,
    MAX_LEASE_S,
    MAX_UNSETTLED,
    ConsumerState,
    DeadLetter,
    ranges_of,
)
from chatkit.core.history import HistoryPage, read_history
from chatkit.core.model import Cursor, Draft, Gap, Head, Message, Receipt
from chatkit.core.subscription import Subscription
from chatkit.errors import BadRequest, KeyConflict

FAILED_SUFFIX: Final = ".failed"  # of the room that gets the dead letters of a room
MIN_LEASE_S: Final = 0.1
MAX_WAIT_S: Final = 60.0
MAX_REASON_CHARS: Final = 500  # of a dead letter
MAX_READS: Final = 16  # of one take: messages that come again may stand far apart in the log

OwnerCheck: TypeAlias = Callable[[str], None]
"""Called with the name that owns a consumer. Raises if the caller may not use that name's consumers."""


class ConsumerStatus(msgspec.Struct, frozen=True):
    """A consumer as it is now.

    `cursor` is the position up to which everything is settled. `lag` is the number of messages that are not settled, of
    which `leased` are with workers and `waiting` come again. `failed` is the number of dead letters so far, and
    `missed` that of the messages that retention removed before a worker took them: the next one gets them as a gap.
    """

    room: str
    name: str
    owner: str
    cursor: Cursor
    lag: int
    leased: int
    waiting: int
    failed: int
    missed: int
    retries: int
    ordered: bool

    @classmethod
    def of(cls, room: str, name: str, state: ConsumerState, head: Head | None) -> "ConsumerStatus":
        """Return the status of a consumer with this state, in a room with this head, if it has messages."""
        n_new = n_missed = 0
        if head is not None:
            high = state.high if state.epoch == head.epoch else head.first - 1
            n_new, n_missed = head.last - max(high, head.first - 1), head.first - 1 - high
        return cls(
            room,
            name,
            state.owner,
            state.cursor,
            max(0, n_new) + state.n_unsettled,
            state.n_leased,
            len(state.waiting),
            state.n_failed,
            max(0, n_missed),
            state.retries,
            state.ordered,
        )


class Taken(msgspec.Struct, frozen=True):
    """What a worker has taken. `lease` settles it; None if there was nothing to take.

    A `gap` says which messages before these cannot be read. It comes again until its lease is acknowledged.
    """

    lease: str | None = None
    messages: Sequence[Message] = ()
    gap: Gap | None = None


class Store(RecordStore, Protocol):
    """The part of a store in which consumers are kept, and to which dead letters are appended."""

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit drafts."""


class Subscribe(Protocol):
    """Reads a room after a cursor; see `Hub.subscribe`."""

    def __call__(self, room: str, *, after: Cursor) -> Awaitable[Subscription]:
        """Return a subscription."""


class ConsumerContext(NamedTuple):
    """What the consumers of a hub share. `waiters` are set when the record with their key changes, or access does."""

    backend: Backend
    store: Store
    records: ConsumerRecords
    subscribe: Subscribe
    now_ms: Callable[[], int]
    waiters: defaultdict[str, set[asyncio.Event]]
    access: AccessTable


class Consumer:
    """One consumer, as one of its workers uses it. Each method raises what `check` raises for the consumer's owner.

    Also `NotFound` if there is no such consumer, and `VersionConflict` if too many workers change it at the same time.
    A lease that is taken with a token ends when the token's holder may not read the room any more.
    """

    def __init__(self, context: ConsumerContext, room: str, name: str, check: OwnerCheck, token_id: str = "") -> None:
        self._context = context
        self._token_id = token_id
        self._key = key_of(room, name)
        self._check = check
        self.room = room
        self.name = name

    async def receive(self, *, limit: int = 10, lease_s: float = 30.0, wait_s: float = 0.0) -> Taken:
        """Lease the next messages for `lease_s` seconds; wait up to `wait_s` seconds for the first one.

        They are at most `limit`, in the order of their numbers: those that come again, then new ones. Raise
        `BadRequest` for a number out of its range.
        """
        check_range("limit", limit, 1, MAX_UNSETTLED)
        check_range("lease_s", lease_s, MIN_LEASE_S, MAX_LEASE_S)
        check_range("wait_s", wait_s, 0, MAX_WAIT_S)
        clock = asyncio.get_running_loop().time
        end_s = clock() + wait_s
        waiters = self._context.waiters
        changed = asyncio.Event()  # set when the consumer's record changes
        waiters[self._key].add(changed)
        try:
            while True:
                changed.clear()
                taken, state = await self._receive(limit, lease_s)
                if taken.lease is not None or clock() >= end_s:
                    return taken
                await self._wait(state, changed, end_s - clock())
        finally:
            waiters[self._key].discard(changed)
            if not waiters[self._key]:
                del waiters[self._key]

    async def ack(self, lease: str, seqs: Collection[int] | None = None) -> ConsumerStatus:
        """Settle messages of a lease, or all of them. To repeat it after success changes nothing.

        Raise `LeaseExpired` if others may have the messages, and `BadRequest` for a message that it does not have.
        """
        return await self._change(lambda state, now_ms: (state.settle(lease, seqs, now_ms), []))

    async def retry(
        self, lease: str, seqs: Collection[int] | None = None, *, delay_s: float = 0.0, reason: str = ""
    ) -> ConsumerStatus:
        """Report that messages of a lease, or all of them, have failed: they come again after a delay. Raise as `ack`.

        Those that have failed more than `retries` times are reported in `ROOM.failed` with the reason.
        """
        check_range("delay_s", delay_s, 0, MAX_DELAY_S)
        why, delay_ms = reason[:MAX_REASON_CHARS], round(delay_s * 1000)
        return await self._change(lambda state, now_ms: state.retry(lease, seqs, now_ms, delay_ms=delay_ms, reason=why))

    async def release(self, lease: str, seqs: Collection[int] | None = None) -> ConsumerStatus:
        """Give messages of a lease, or all of them, back: they were not tried. Raise as `ack`."""
        return await self._change(lambda state, now_ms: (state.release(lease, seqs, now_ms), []))

    async def extend(self, lease: str, lease_s: float) -> ConsumerStatus:
        """Let a lease run out `lease_s` seconds from now. Raise `LeaseExpired` if it already has."""
        check_range("lease_s", lease_s, MIN_LEASE_S, MAX_LEASE_S)
        lease_ms = round(lease_s * 1000)
        return await self._change(lambda state, now_ms: (state.extend(lease, now_ms + lease_ms, now_ms), []))

    async def status(self) -> ConsumerStatus:
        """Return the consumer as it is now. Everybody who reads the room may see it."""
        return await self._status(await self._context.records.get(self._key))

    async def delete(self) -> None:
        """Delete the consumer. Its leases end."""
        await self._context.records.delete(self._key, self._check)

    # Steps of the methods above

    async def _receive(self, limit: int, lease_s: float) -> tuple[Taken, ConsumerState]:
        taken = Taken()

        async def lease_next(known: ConsumerState | None) -> ConsumerState:
            nonlocal taken
            state = self._allowed(known)
            now_ms = self._context.now_ms()
            state, dead = state.revoke(partial(self._has_lost, now_ms), now_ms).expire(now_ms)
            await self._report(state.epoch, dead)
            state, messages = await self._read(state, limit, now_ms)
            gap = state.gap_to_take()
            if not messages and gap is None:
                taken = Taken()
                return state
            taken = Taken(secrets.token_urlsafe(9), messages, gap)
            until_ms = min(self._context.now_ms() + round(lease_s * 1000), self._token_end_ms())
            return state.lease(taken.lease or "", [message.seq for message in messages], until_ms, self._token_id)

        state = await self._context.records.update(self._key, lease_next)
        return taken, state

    def _has_lost(self, now_ms: int, token_id: str) -> bool:
        return not self._context.access.holder_reads(token_id, self.room, now_ms)

    def _token_end_ms(self) -> int:
        token = self._context.access.token(self._token_id)
        return NEVER_MS if token is None or token.expires_ms is None else token.expires_ms

    async def _read(self, state: ConsumerState, limit: int, now_ms: int) -> tuple[ConsumerState, list[Message]]:
        """Return the messages to take, and the state after the gaps that were found."""
        messages: list[Message] = []
        for after, n_messages in _reads(state, limit, now_ms):
            page = await read_history(
                self._context.backend, self.room, after=Cursor(state.epoch, after), limit=n_messages
            )
            if page.gap is not None:
                return await self._read(_skip(state, page.gap, page), limit, now_ms)
            messages += page.messages
            if len(page.messages) < n_messages:
                break  # the page is full: later messages must not come before the rest of it
        return state, messages

    async def _wait(self, state: ConsumerState, changed: asyncio.Event, timeout_s: float) -> None:
        """Wait until the consumer changes, there is a new message that may be taken, or a message comes again."""
        if (change_ms := state.next_change_ms()) is not None:
            timeout_s = min(timeout_s, max(0, change_ms - self._context.now_ms()) / 1000)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if not state.n_new(1, 0):
                    await changed.wait()
                    return
                with await self._context.subscribe(self.room, after=Cursor(state.epoch, state.high)) as subscription:
                    await _first_of(changed.wait(), subscription.read(1))

    async def _change(
        self, change: Callable[[ConsumerState, int], tuple[ConsumerState, Iterable[DeadLetter]]]
    ) -> ConsumerStatus:
        async def change_known(known: ConsumerState | None) -> ConsumerState:
            state = self._allowed(known)
            after, dead = change(state, self._context.now_ms())
            await self._report(state.epoch, dead)
            return after

        return await self._status(await self._context.records.update(self._key, change_known))

    def _allowed(self, state: ConsumerState | None) -> ConsumerState:
        if state is None:
            raise no_such_consumer(self._key)
        self._check(state.owner)
        return state

    async def _report(self, epoch: str, dead: Iterable[DeadLetter]) -> None:
        """Append dead letters to the room of the failed ones, before the state says so: each has a key, so once."""
        for letter in dead:
            often = "once" if letter.n_tries == 1 else f"{letter.n_tries} times"
            body = f"{self.name} failed {often} at message {letter.seq} of {self.room}"
            digest = hashlib.sha256(f"{self._key}:{epoch}:{letter.seq}".encode()).hexdigest()[:32]
            draft = Draft(
                f"{self.room}{FAILED_SUFFIX}",
                SERVER_NAME,
                f"{body}: {letter.reason}" if letter.reason else body,
                {"consumer": self.name, "seq": letter.seq, "reason": letter.reason, "tries": letter.n_tries},
                f"failed-{digest}",
                verified=True,
                bot=True,
            )
            with suppress(KeyConflict):  # it was reported before, with another reason
                await self._context.store.append([draft])

    async def _status(self, state: ConsumerState) -> ConsumerStatus:
        head = (await self._context.backend.read(self.room, limit=1)).head
        return ConsumerStatus.of(self.room, self.name, state, head)


def check_range(what: str, value: float, low: float, high: float) -> None:
    """Raise `BadRequest` unless a number is in its range."""
    if not low <= value <= high:
        raise BadRequest(f"{what} is a number from {low:g} to {high:g}")


def _reads(state: ConsumerState, limit: int, now_ms: int) -> list[tuple[int, int]]:
    """Return what to read, in order: the number before the first message, and how many."""
    due = state.due(now_ms, limit)
    reads = [(first - 1, last - first + 1) for first, last in ranges_of(due)]
    if n_new := state.n_new(limit, len(due)):
        reads.append((state.high, n_new))
    return reads[:MAX_READS]


def _skip(state: ConsumerState, gap: Gap, page: HistoryPage) -> ConsumerState:
    """Return the state after the gap before a page."""
    return state.skip(Cursor(page.head.epoch, gap.before - 1), gap)


async def _first_of(*waits: Awaitable[object]) -> None:
    """Wait until one of several ends, and cancel the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
