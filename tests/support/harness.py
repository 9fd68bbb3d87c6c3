"""Helpers for tests of the core and of sessions: event loops, a recording socket, and a backend that can fail."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import pytest

from chatkit.backends.memory import MemoryBackend
from chatkit.core import fanout
from chatkit.core import room as room_module
from chatkit.core import segment as segment_module
from chatkit.core.backend import Backend, Filter, Notification, Page, PresenceChange, RoomInfo
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Draft, Gap, Member, Message, Receipt
from chatkit.core.records import Record, RecordChanges
from chatkit.core.subscription import Item, Subscription, WouldBlock
from chatkit.websocket.direct import Receiver
from chatkit.websocket.reader import payloads

T = TypeVar("T")
DEADLINE_S = 20.0  # only a test that hangs takes this long


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run a test in a new event loop, with a deadline."""

    async def limited() -> T:
        async with asyncio.timeout(DEADLINE_S):
            return await job

    return asyncio.run(limited())


async def turns(count: int = 20) -> None:
    """Wait for a number of turns of the event loop, so that all ready tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(is_so: Callable[[], object], what: str = "the condition never became true") -> None:
    """Wait, with a deadline, until something holds."""
    try:
        async with asyncio.timeout(DEADLINE_S / 2):
            for _ in range(200):
                if is_so():
                    return
                await asyncio.sleep(0)
            while not is_so():  # noqa: ASYNC110  # other threads change the condition without an event
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(what) from None


async def cancelled_after(steps: int, job: Coroutine[Any, Any, T]) -> T | None:
    """Cancel a job after a number of turns of the loop; return its result if it was done by then."""
    task = asyncio.ensure_future(job)
    await turns(steps)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


def draft(body: object, room: str = "ops", **parts: Any) -> Draft:
    return Draft(room, "ann", str(body), **parts)


async def publish_all(hub: Hub, *bodies: object, room: str = "ops") -> list[Receipt]:
    """Publish bodies in order, and wait until all are committed."""
    return list(await asyncio.gather(*(hub.publish(draft(body, room)) for body in bodies)))


def read_in_memory(subscription: Subscription) -> list[Message]:
    """Read a chunk of messages that are in memory."""
    try:
        frames, _ = subscription.chunk(as_line)
    except WouldBlock:
        return []
    return of_lines(frames)


async def drain(subscription: Subscription, limit: int = 7) -> list[Item]:
    """Read all items that are due."""
    items: list[Item] = []
    while found := await subscription.read(limit, wait=False):
        items += found
    return items


def is_left_clean(hub: Hub) -> bool:
    rosters = vars(hub._presence.roster)
    return (
        hub.counts == {"rooms": 0, "subscriptions": 0}
        and not (hub._rooms._rooms or hub._rooms._fanout._grown or hub._rooms._fanout._waking)
        and not (rosters["_rooms"] or rosters["_unreported"])
    )


def seqs(items: Sequence[Item]) -> list[int | tuple[int, int, str]]:
    """Return messages as their numbers, and gaps as tuples."""
    return [(item.after, item.before, item.reason) if isinstance(item, Gap) else item.seq for item in items]


def as_line(message: Message) -> bytes:
    """Encode a message so that a test can decode it."""
    return msgspec.json.encode(message) + b"\n"


def of_lines(lines: bytes) -> list[Message]:
    return [msgspec.json.decode(line, type=Message) for line in lines.splitlines()]


class RecordingSocket:
    """A socket that records what is written to it. Tests set `is_writable`."""

    def __init__(self) -> None:
        self.deflate: int | None = None
        self.is_writable = True
        self.texts: list[bytes] = []
        self.n_writes = 0
        self.is_paused = False
        self.pauses = 0
        self.closed: list[tuple[int, str]] = []
        self.room_for: int | None = None  # bytes until it is full; None if it never is

    def write(self, frames: bytes, /) -> None:
        self.n_writes += 1
        self.texts += payloads(frames)
        if self.room_for is not None:
            self.room_for -= len(frames)
            self.is_writable = self.room_for > 0

    def send_text(self, payload: bytes) -> None:
        self.texts.append(payload)

    def pause_reading(self) -> None:
        self.is_paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self, code: int, reason: str = "") -> None:
        self.closed.append((code, reason))

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:
        raise AssertionError("a session does not attach itself to a socket")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(text) for text in self.texts]

    def pop_events(self) -> list[dict[str, Any]]:
        """Return the events so far, and remove them."""
        events = self.events
        self.texts.clear()
        return events

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


class Faults(Backend):
    """A wrapper of a backend whose calls can be blocked, fail, or take several turns of the loop."""

    def __init__(self, inner: Backend | None = None) -> None:
        self.inner = MemoryBackend() if inner is None else inner
        self.shared = self.inner.shared
        self.keeps_history = self.inner.keeps_history
        self.calls: Counter[str] = Counter()
        self.failures: dict[str, Exception] = {}  # by method: raised before the call
        self.before: dict[str, asyncio.Event] = {}  # by method: waited for before the call
        self.after: dict[
            str, asyncio.Event
        ] = {}  # by method: waited for after the call, so that its answer is outdated
        self.turns = 0  # of the loop, before and after each call
        self.is_deaf = False  # the inner backend's notifications are lost
        self.watched: set[str] = set()
        self._inner_notifications: AsyncIterator[Notification] | None = None
        self._next: asyncio.Task[Notification] | None = None
        self._injected: deque[Notification | Exception | None] = deque()
        self._wake = asyncio.Event()

    def hold(self, method: str, *, old_answer: bool = False) -> asyncio.Event:
        """Block the calls of a method until the returned event is set."""
        release = (self.after if old_answer else self.before)[method] = asyncio.Event()
        return release

    def inject(self, notification: Notification | Exception | None) -> None:
        """Add a notification. An error is raised by the iterator, and None ends it."""
        self._injected.append(notification)
        self._wake.set()

    def wipe(self) -> None:
        """Lose everything: the log of each room starts again."""
        assert isinstance(self.inner, MemoryBackend)
        self.inner = type(self.inner)()
        self.inner._watched |= self.watched
        self._inner_notifications = None
        if self._next is not None:
            self._next.cancel()

    async def _do(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        self.calls[method] += 1
        await turns(self.turns)
        if release := self.before.get(method):
            await release.wait()
        if failure := self.failures.get(method):
            raise failure
        result = await call()
        await turns(self.turns)
        if release := self.after.get(method):
            await release.wait()
        return result

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.inner.__aexit__(exc_type, exc, traceback)

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        return await self._do("append", lambda: self.inner.append(drafts))

    async def read(
        self,
        room: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        where: Filter | None = None,
    ) -> Page:
        return await self._do(
            "read", lambda: self.inner.read(room, after=after, before=before, limit=limit, where=where)
        )

    async def rooms(self) -> list[RoomInfo]:
        return await self._do("rooms", self.inner.rooms)

    async def redact(self, room: str, seq: int) -> Message:
        return await self._do("redact", lambda: self.inner.redact(room, seq))

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        return await self._do("trim", lambda: self.inner.trim(room, keep=keep, before_ms=before_ms))

    async def get_record(self, kind: str, key: str) -> Record | None:
        return await self._do("get_record", lambda: self.inner.get_record(kind, key))

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        return await self._do(
            "put_record", lambda: self.inner.put_record(kind, key, value, expected_version=expected_version)
        )

    async def scan_records(self, kind: str, prefix: str = "") -> Sequence[Record]:
        return await self._do("scan_records", lambda: self.inner.scan_records(kind, prefix))

    async def record_changes(self, after: Cursor | None) -> RecordChanges:
        return await self._do("record_changes", lambda: self.inner.record_changes(after))

    async def delete_room(self, room: str) -> bool:
        return await self._do("delete_room", lambda: self.inner.delete_room(room))

    async def rename_room(self, room: str, new: str) -> bool:
        return await self._do("rename_room", lambda: self.inner.rename_room(room, new))

    async def load(self, messages: Sequence[Message]) -> int:
        return await self._do("load", lambda: self.inner.load(messages))

    async def watch(self, room: str) -> None:
        async def watch() -> None:
            self.watched.add(room)
            await self.inner.watch(room)

        await self._do("watch", watch)

    async def unwatch(self, room: str) -> None:
        async def unwatch() -> None:
            self.watched.discard(room)
            await self.inner.unwatch(room)

        await self._do("unwatch", unwatch)

    async def notifications(self) -> AsyncIterator[Notification]:
        self.calls["notifications"] += 1
        while True:
            while self._injected:
                injected = self._injected.popleft()
                if injected is None:
                    return
                if isinstance(injected, Exception):
                    raise injected
                yield injected
            item = await self._next_of_inner()
            if isinstance(item, StopAsyncIteration):
                return
            if item is not None and not self.is_deaf:
                yield item

    async def _next_of_inner(self) -> Notification | StopAsyncIteration | None:
        if self._inner_notifications is None:
            self._inner_notifications = self.inner.notifications()
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._inner_notifications))
            self._next.add_done_callback(
                lambda task: task.cancelled() or task.exception()
            )  # its end may be read by no one
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({self._next, waking}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._next.cancel()
            raise
        finally:
            waking.cancel()
        self._wake.clear()
        if not self._next.done():
            return None
        done, self._next = self._next, None
        if done.cancelled():
            return None
        error = done.exception()
        return error if isinstance(error, StopAsyncIteration) else done.result()

    async def typing(self, room: str, sender: str) -> None:
        await self._do("typing", lambda: self.inner.typing(room, sender))

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        await self._do("announce", lambda: self.inner.announce(process, joined=joined, left=left, ttl_s=ttl_s))

    async def poll_presence(self, process: str) -> Sequence[PresenceChange]:
        return await self._do("poll_presence", lambda: self.inner.poll_presence(process))


class Forgetful(MemoryBackend):
    """A backend that delivers messages and stores none."""

    keeps_history = False

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        receipts = await super().append(drafts)
        await self.trim(keep=0)
        return receipts


@contextmanager
def small_tails() -> Iterator[None]:
    """Reduce the bounds of tails, so that a few messages reach every edge case."""
    sizes = {
        (segment_module, "MAX_MESSAGES"): 8,
        (room_module, "MAX_MESSAGES"): 8,
        (room_module, "OPENING_MESSAGES"): 4,
        (segment_module, "MAX_CHUNK_MESSAGES"): 3,
        (fanout, "WAKES_A_TURN"): 2,
    }
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), size in sizes.items():
            patch.setattr(module, name, size)
        yield


class Log:
    """Everything that was committed, by epoch, and how far each log was trimmed."""

    def __init__(self) -> None:
        self.by_epoch: dict[str, list[Message]] = {}
        self.trimmed: Counter[str] = Counter()

    def committed(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            self.by_epoch.setdefault(receipt.message.epoch, []).append(receipt.message)


class Witness:
    """Checks that one reader gets every message once and in order, and a gap for missing ones."""

    def __init__(self, log: Log, epoch: str, position: int) -> None:
        self.log = log
        self.epoch = epoch
        self.position = position

    def saw(self, items: Sequence[Item]) -> None:
        for item in items:
            if self.position == 0:
                self.epoch = ""  # a reader at position 0 misses nothing of a log that started again
            if isinstance(item, Gap):
                assert item.after == self.position, f"{item} does not begin at {self.position}"
                if item.reason == "epoch":
                    self.epoch = ""  # the next message has it
                else:
                    trimmed = self.log.trimmed[self.epoch] if self.epoch else max(self.log.trimmed.values())
                    assert self.position < item.before - 1 <= trimmed, f"{item}: they were there"
                self.position = item.before - 1
            else:
                self.epoch = self.epoch or item.epoch
                assert (item.epoch, item.seq) == (self.epoch, self.position + 1), f"{item} after {self.position}"
                assert item.redacted or item.body == self.log.by_epoch[item.epoch][item.seq - 1].body
                self.position = item.seq
