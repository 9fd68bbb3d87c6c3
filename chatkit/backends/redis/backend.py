"""RedisBackend: rooms in Redis, for processes on many machines. RedisPubSubBackend: the same without history.

A room is a stream; one script checks keys, numbers, appends and publishes, for a whole batch, in one round trip. On one
server a batch is one script, and stored wholly or not at all. On a cluster each room is: if a node fails in the middle
of a batch, some of its rooms may have their messages, and the append raises `Unavailable`.
"""

# ruff: noqa: D102 - what each method means is said once, in Backend

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.redis.codec import KeyNames, RoomPosition
from chatkit.backends.redis.echo import OwnPublishes
from chatkit.backends.redis.listener import RedisListener
from chatkit.backends.redis.login import Login, check_server, check_waiting
from chatkit.backends.redis.presence import RedisPresence
from chatkit.backends.redis.router import Router
from chatkit.backends.redis.topology import Topology
from chatkit.backends.redis.writer import RedisWriter
from chatkit.core.backend import Backend, Filter, Notification, Page, PresenceChange, RoomInfo
from chatkit.core.in_flight import InFlight
from chatkit.core.model import Draft, Member, Message, Receipt
from chatkit.errors import ChatkitError

DEFAULT_PREFIX = "chatkit:"
# What comes in one turn of the loop, of the smallest messages: without a history, what is folded away is lost.
MAX_CARRIED = 65_536


class RedisBackend(Backend):
    """Rooms on the servers of a `place`, under keys that begin with `prefix`.

    An append returns when the server has it, as durable as that is configured to be (`appendfsync`), and when at least
    `replicas` of its replicas have it, too. With `expire_after_s`, Redis deletes a room when nothing was appended to it
    for so many seconds.
    """

    shared = True

    def __init__(
        self,
        place: Topology,
        login: Login,
        *,
        prefix: str = DEFAULT_PREFIX,
        replicas: int = 0,
        expire_after_s: float | None = None,
    ) -> None:
        guide = login if place.asks_rooms_servers else login.stranger()
        self._nodes = Router(place, login.wire, guide.wire)
        names = KeyNames(prefix, login.database)
        self._log = RedisWriter(self._nodes, names, keeps_history=self.keeps_history, replicas=replicas)
        self._echoes = OwnPublishes(secrets.token_hex(6))
        self._replicas = replicas
        self._expire_after_s = expire_after_s
        self._inbox = NotificationQueue() if self.keeps_history else NotificationQueue(MAX_CARRIED)
        self._newsroom = RedisListener(self._nodes, names, self._echoes, self._inbox)
        self._attendants = RedisPresence(self._nodes, prefix)
        self._appends = InFlight()  # leaving waits for them
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._inbox.close)
            stack.push_async_callback(self._nodes.close)
            features = await check_server(self._nodes)
            if self._replicas:
                await check_waiting(self._nodes)
            self._log.publish = "SPUBLISH" if features.is_sharded else "PUBLISH"
            self._newsroom.channels.is_sharded = features.is_sharded
            stack.push_async_callback(self._newsroom.close)
            await self._newsroom.open()
            mending = asyncio.get_running_loop().create_task(self._newsroom.run())
            mending.add_done_callback(lambda _: self._inbox.close())  # should it fail: nobody listens on, deaf
            stack.push_async_callback(_end, mending)
            stack.push_async_callback(self._appends.wait_idle)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        name = self._echoes.begin()
        if not self.keeps_history:  # then the news alone have everything in its order, and what is late cannot be read
            self._echoes.fail(name)
        try:
            with self._appends:
                receipts = await self._log.append(drafts, self._newsroom.known, name)
                if not self.keeps_history:
                    await self._newsroom.caught_up({draft.room for draft in drafts})
        except BaseException:
            self._echoes.fail(name)
            self._newsroom.doubt(draft.room for draft in drafts)
            raise
        self._echoes.end(name)
        newest = {receipt.message.room: receipt.message for receipt in receipts if not receipt.repeat}
        for message in newest.values():
            self._newsroom.saw(message.room, RoomPosition(message.epoch, message.seq))
        if self._expire_after_s is not None:
            with suppress(ChatkitError):  # the messages are stored: a room that stays for longer is no reason to fail
                await self._log.expire(dict.fromkeys(draft.room for draft in drafts), self._expire_after_s)
        return receipts

    async def read(
        self,
        room: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        where: Filter | None = None,
    ) -> Page:
        return await self._log.read(room, after, before, limit, where)

    async def rooms(self) -> list[RoomInfo]:
        return await self._log.rooms()

    async def redact(self, room: str, seq: int) -> Message:
        return await self._log.redact(room, seq)

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        return await self._log.trim(room, keep, before_ms)

    async def watch(self, room: str) -> None:
        await self._newsroom.watch(room)

    async def unwatch(self, room: str) -> None:
        self._newsroom.unwatch(room)

    def notifications(self) -> AsyncIterator[Notification]:
        return self._inbox.read()

    async def typing(self, room: str, sender: str) -> None:
        await self._log.typing(room, sender, self._echoes.process)

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        await self._attendants.announce(process, joined, left, ttl_s)

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        return await self._attendants.poll_presence(process)


class RedisPubSubBackend(RedisBackend):
    """Rooms whose messages are numbered and passed on, and not kept: a room is its last number, for a day of silence.

    What is not kept cannot be read, redacted or trimmed. No keys are kept either: a publish that is tried again after
    `Unavailable` may be delivered twice, and a conflict of keys is not found.
    """

    keeps_history = False


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
