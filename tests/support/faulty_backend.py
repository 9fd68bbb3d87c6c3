"""Backends for tests of failures: one whose calls can be blocked or fail, and one that stores nothing."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from harness import turns

from chatkit.backends.memory import MemoryBackend
from chatkit.core.backend import (
    Backend,
    Filter,
    MentionPosition,
    Notification,
    Page,
    PresenceChange,
    RoomInfo,
    RoomUnread,
)
from chatkit.core.model import Cursor, Draft, Head, Member, Message, Receipt
from chatkit.core.name_range import EVERY_NAME, NameRange
from chatkit.core.records import Record, RecordChanges

T = TypeVar("T")


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
        folded: bool = False,
    ) -> Page:
        return await self._do(
            "read",
            lambda: self.inner.read(room, after=after, before=before, limit=limit, where=where, folded=folded),
        )

    async def find_rooms(self, rooms: Sequence[str], where: Filter) -> Collection[str]:
        return await self._do("find_rooms", lambda: self.inner.find_rooms(rooms, where))

    async def rooms(self, *, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        return await self._do("rooms", lambda: self.inner.rooms(start=start, end=end, limit=limit))

    async def heads(self, rooms: Collection[str]) -> dict[str, Head]:
        return await self._do("heads", lambda: self.inner.heads(rooms))

    async def redact(self, room: str, seq: int) -> Message:
        return await self._do("redact", lambda: self.inner.redact(room, seq))

    async def has_reaction(self, room: str, seq: int, emoji: str, sender: str) -> bool:
        return await self._do("has_reaction", lambda: self.inner.has_reaction(room, seq, emoji, sender))

    async def read_mentions(
        self,
        name: str,
        *,
        within: Sequence[NameRange] = (EVERY_NAME,),
        before: MentionPosition | None = None,
        limit: int = 100,
    ) -> Sequence[Message]:
        return await self._do(
            "read_mentions", lambda: self.inner.read_mentions(name, within=within, before=before, limit=limit)
        )

    async def count_unread(self, name: str, markers: Mapping[str, int], *, limit: int = 1_000) -> Sequence[RoomUnread]:
        return await self._do("count_unread", lambda: self.inner.count_unread(name, markers, limit=limit))

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
            # Its end may be read by no one.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
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
