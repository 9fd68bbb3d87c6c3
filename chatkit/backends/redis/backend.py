"""RedisBackend: rooms in Redis, for processes on many machines. RedisPubSubBackend: the same without history.

A room is a stream. One script checks keys, assigns seqs, appends and publishes, for a whole batch in one round trip. On
one server, a batch is one script and is stored completely or not at all. On a cluster, this holds for each slot: if a
node fails in the middle of a batch, some of its rooms may have their messages, and the append raises `Unavailable`.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.redis.codec import KeyNames, RoomPosition
from chatkit.backends.redis.listener import OwnPublishes, RedisListener
from chatkit.backends.redis.login import Login, check_server, check_waiting
from chatkit.backends.redis.presence import RedisPresence
from chatkit.backends.redis.reader import RedisReader
from chatkit.backends.redis.records import RedisRecords
from chatkit.backends.redis.router import Router
from chatkit.backends.redis.topology import Topology
from chatkit.backends.redis.unread import RedisUnread
from chatkit.backends.redis.writer import RedisWriter
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
from chatkit.core.in_flight import InFlight
from chatkit.core.model import Cursor, Draft, Head, Member, Message, Receipt
from chatkit.core.name_range import EVERY_NAME, NameRange
from chatkit.core.records import Record, RecordChanges
from chatkit.errors import BadRequest, ChatkitError

DEFAULT_PREFIX = "chatkit:"
# As many of the smallest messages as arrive in one turn of the event loop: without a history, folded messages are lost.
MAX_CARRIED = 65_536


class RedisBackend(Backend):
    """Rooms on the servers of a topology, under keys that begin with `prefix`.

    An append returns when the server has stored it, as durably as `appendfsync` configures, and when at least
    `replicas` of its replicas have it. With `expire_after_s`, Redis deletes a room after that many seconds without an
    append.
    """

    shared = True

    def __init__(
        self,
        topology: Topology,
        login: Login,
        *,
        prefix: str = DEFAULT_PREFIX,
        replicas: int = 0,
        expire_after_s: float | None = None,
    ) -> None:
        discovery_login = login if topology.shares_login else login.discovery_login()
        self._router = Router(topology, login.make_connection, discovery_login.make_connection)
        names = KeyNames(prefix, login.database)
        self._reader = RedisReader(self._router, names)
        self._writer = RedisWriter(
            self._router, self._reader, names, keeps_history=self.keeps_history, replicas=replicas
        )
        self._unread = RedisUnread(self._router, self._reader, names)
        self._own_publishes = OwnPublishes(secrets.token_hex(6))
        self._replicas = replicas
        self._expire_after_s = expire_after_s
        self._notifications = NotificationQueue() if self.keeps_history else NotificationQueue(MAX_CARRIED)
        self._listener = RedisListener(self._router, names, self._own_publishes, self._notifications)
        self._presence = RedisPresence(self._router, prefix)
        self._records = RedisRecords(self._router, self._writer.write, prefix)
        self._appends = InFlight()  # closing waits for them
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._notifications.close)
            stack.push_async_callback(self._router.close)
            features = await check_server(self._router)
            if self._replicas:
                await check_waiting(self._router)
            self._writer.publish_command = "SPUBLISH" if features.is_sharded else "PUBLISH"
            self._listener.pubsub.is_sharded = features.is_sharded
            stack.push_async_callback(self._listener.close)
            await self._listener.open()
            listening = asyncio.get_running_loop().create_task(self._listener.run())
            # If it fails, end the notifications, so that no reader waits for them for good.
            listening.add_done_callback(lambda _: self._notifications.close())
            stack.push_async_callback(_cancel, listening)
            stack.push_async_callback(self._appends.wait_idle)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        append_id = self._own_publishes.begin()
        if not self.keeps_history:  # only the publications have all messages in order, and missed ones cannot be read
            self._own_publishes.forget(append_id)
        try:
            with self._appends:
                receipts = await self._writer.append(drafts, self._listener.position, append_id)
                if not self.keeps_history:
                    await self._listener.wait_received({draft.room for draft in drafts})
        except BaseException:
            self._own_publishes.forget(append_id)
            self._listener.check_soon(draft.room for draft in drafts)
            raise
        self._own_publishes.confirm(append_id)
        newest = {receipt.message.room: receipt.message for receipt in receipts if not receipt.repeat}
        for message in newest.values():
            self._listener.advance(message.room, RoomPosition(message.epoch, message.seq))
        if self._expire_after_s is not None:
            with suppress(ChatkitError):  # the messages are stored: an expiry that is not set is not a failed append
                await self._writer.expire(dict.fromkeys(draft.room for draft in drafts), self._expire_after_s)
        return receipts

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
        return await self._reader.read(room, after, before, limit, where, folded=folded)

    async def rooms(self, *, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        return await self._reader.rooms(start, end, limit)

    async def find_rooms(self, rooms: Sequence[str], where: Filter) -> Collection[str]:
        return await self._reader.find_rooms(rooms, where)

    async def heads(self, rooms: Collection[str]) -> dict[str, Head]:
        return await self._reader.heads(rooms)

    async def redact(self, room: str, seq: int) -> Message:
        return await self._writer.redact(room, seq)

    async def has_reaction(self, room: str, seq: int, emoji: str, sender: str) -> bool:
        return await self._unread.has_reaction(room, seq, emoji, sender)

    async def read_mentions(
        self,
        name: str,
        *,
        within: Sequence[NameRange] = (EVERY_NAME,),
        before: MentionPosition | None = None,
        limit: int = 100,
    ) -> Sequence[Message]:
        return await self._unread.read_mentions(name, within, before, limit)

    async def count_unread(self, name: str, markers: Mapping[str, int], *, limit: int = 1_000) -> Sequence[RoomUnread]:
        return await self._unread.count_unread(name, markers, limit)

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        return await self._writer.trim(room, keep, before_ms)

    async def watch(self, room: str) -> None:
        await self._listener.watch(room)

    async def unwatch(self, room: str) -> None:
        self._listener.unwatch(room)

    def notifications(self) -> AsyncIterator[Notification]:
        return self._notifications.read()

    async def typing(self, room: str, sender: str) -> None:
        await self._writer.typing(room, sender, self._own_publishes.process)

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        await self._presence.announce(process, joined, left, ttl_s)

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        return await self._presence.poll_presence(process)

    async def get_record(self, kind: str, key: str) -> Record | None:
        return await self._records.get_record(kind, key)

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        return await self._records.put_record(kind, key, value, expected_version=expected_version)

    async def scan_records(self, kind: str, prefix: str = "") -> Sequence[Record]:
        return await self._records.scan_records(kind, prefix)

    async def record_changes(self, after: Cursor | None) -> RecordChanges:
        return await self._records.record_changes(after)

    async def delete_room(self, room: str) -> bool:
        return await self._writer.delete_room(room)

    async def rename_room(self, room: str, new: str) -> bool:
        with self._appends:
            return await self._writer.rename_room(room, new)

    async def load(self, messages: Sequence[Message]) -> int:
        with self._appends:
            return await self._writer.load(messages)


class RedisPubSubBackend(RedisBackend):
    """Rooms whose messages are numbered and delivered, but not stored.

    Redis stores only a room's last seq, until a day has passed without a message, and the records. Messages cannot be
    read, redacted, trimmed or loaded. Keys are not stored either: a publish that is retried after `Unavailable` may be
    delivered twice, and conflicting keys are not detected.
    """

    keeps_history = False

    async def count_unread(
        self,
        name: str,  # noqa: ARG002 - the contract's
        markers: Mapping[str, int],  # noqa: ARG002 - the same
        *,
        limit: int = 1_000,  # noqa: ARG002 - the same
    ) -> Sequence[RoomUnread]:
        return ()

    async def load(self, messages: Sequence[Message]) -> int:  # noqa: ARG002 - the contract's
        raise BadRequest("this store keeps no history, so that no messages can be loaded into it")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
