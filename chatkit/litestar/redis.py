"""Channels in Redis, under the names and parameters of Litestar's backends, by chatkit's connections."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from chatkit.backends.redis import KeyNames, RedisBackend, RedisPubSubBackend
from chatkit.core.backend import Backend
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.events import Published
from chatkit.litestar.naming import room_of
from chatkit.litestar.payload import draft_of, payload_of
from chatkit.litestar.redis_client import Client, topology_of
from chatkit.litestar.retention import RetentionBackend, RetentionSweeper

KEY_PREFIX: Final = "LITESTAR_CHANNELS"
SCAN_STEP: Final = 1_000  # keys that one SCAN looks at: about a millisecond of the server's


class ChannelsRedis(RetentionBackend, RedisBackend):
    """Rooms in Redis that keep their newest `history` messages, and expire `ttl_ms` after the last append."""

    def __init__(self, client: Client, *, prefix: str, history: int, ttl_ms: int | None) -> None:
        topology, login = topology_of(client)
        super().__init__(topology, login, prefix=prefix, expire_after_s=None if ttl_ms is None else ttl_ms / 1000)
        self._sweeper = RetentionSweeper(history)


class RedisChannelsBackend(LogChannelsBackend):
    """The common part of both classes. The client names the servers; the connections are chatkit's own.

    As with Litestar's classes, `publish` and `get_history` work before `on_startup`: they connect for each call then.
    """

    def __init__(self, client: Client, prefix: str, make: Callable[[], Backend], history: int | None) -> None:
        _, login = topology_of(client)  # raises here if the client cannot be used
        self._redis = client
        self._names = KeyNames(prefix, login.database)
        super().__init__(make, history=history)

    async def publish(self, data: bytes, channels: Iterable[str]) -> list[Published]:  # type: ignore[override]  # None
        """Commit an event in each channel; return when they are in Redis. Raise `Unavailable` or `StoreError`."""
        if self._hub is not None:
            return await super().publish(data, channels)
        names = list(channels)
        async with self._open() as store:
            receipts = await store.append([draft_of(room_of(name), data) for name in names])
        return [Published.of(name, receipt.message) for name, receipt in zip(names, receipts, strict=True)]

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return the newest events of a channel; see `LogChannelsBackend`."""
        n_events = self.history_limit(limit)
        if self._hub is not None or not n_events:
            return await super().get_history(channel, limit)
        async with self._open() as store:
            page = await store.read(room_of(channel), limit=n_events)
        return [payload_of(message) for message in page.messages]


class RedisChannelsStreamBackend(RedisChannelsBackend):
    """Channels in Redis, each a stream that keeps the newest `history` events.

    `stream_ttl`, in milliseconds or as a timedelta, lets a channel go that nobody published to for so long; without
    one, channels stay. Nothing polls, and what is read is always exact: `stream_sleep_no_subscriptions` and
    `cap_streams_approximate` change nothing.
    """

    def __init__(
        self,
        history: int,
        *,
        redis: Client,
        stream_sleep_no_subscriptions: int = 1,  # noqa: ARG002 - the reference's
        cap_streams_approximate: bool = True,  # noqa: ARG002 - the same
        stream_ttl: int | timedelta | None = None,
        key_prefix: str = KEY_PREFIX,
    ) -> None:
        prefix = f"{key_prefix}_"
        ttl_ms = round(stream_ttl.total_seconds() * 1000) if isinstance(stream_ttl, timedelta) else stream_ttl

        def make() -> Backend:
            return ChannelsRedis(redis, prefix=prefix, history=history, ttl_ms=ttl_ms)

        super().__init__(redis, prefix, make, history)

    def _make_key(self, channel: str) -> str:
        """Return the key of a channel's stream. Channels that differ in case are different channels."""
        return self._names.of(room_of(channel)).log.decode()

    async def flush_all(self) -> int:
        """Delete every channel under the `key_prefix`, on a cluster, too; return how many streams there were."""
        n_streams = 0
        async for key in self._redis.scan_iter(match=self._names.pattern, count=SCAN_STEP):
            room = self._names.room(key if isinstance(key, bytes) else key.encode())
            meta, log, keys, gone, _ = self._names.of(room)
            n_streams += await self._redis.exists(log)
            await self._redis.unlink(meta, log, keys, gone)
        return n_streams


class RedisChannelsPubSubBackend(RedisChannelsBackend):
    """Channels in Redis that carry events and keep none.

    Nothing polls: `stream_sleep_no_subscriptions` changes nothing.
    """

    def __init__(
        self,
        *,
        redis: Client,
        stream_sleep_no_subscriptions: int = 1,  # noqa: ARG002 - the reference's
        key_prefix: str = KEY_PREFIX,
    ) -> None:
        prefix = f"{key_prefix}:"  # not that of streams: a channel of one is none of the other

        def make() -> Backend:
            return RedisPubSubBackend(*topology_of(redis), prefix=prefix)

        super().__init__(redis, prefix, make, None)

    def _make_key(self, channel: str) -> str:
        """Return what a channel is called in Redis. Channels that differ in case are different channels."""
        return self._names.of(room_of(channel)).channel.decode()
