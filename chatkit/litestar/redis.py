"""Channels in Redis, with the names and parameters of Litestar's backends, on chatkit's own connections."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from chatkit.backends.redis import KeyNames, RedisBackend, RedisPubSubBackend
from chatkit.core.backend import Backend
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.events import Published, draft_of, payload_of, room_of
from chatkit.litestar.private_names import PubSubKeyName, StreamKeyName
from chatkit.litestar.redis_client import Client, topology_of
from chatkit.litestar.retention import RetentionBackend, RetentionSweeper

KEY_PREFIX: Final = "LITESTAR_CHANNELS"
SCAN_STEP: Final = 1_000  # keys that one SCAN examines: about a millisecond of the server's time


class ChannelsRedis(RetentionBackend, RedisBackend):
    """Rooms in Redis that keep their newest `history` messages and expire `ttl_ms` after the last append."""

    def __init__(self, client: Client, *, prefix: str, history: int, ttl_ms: int | None) -> None:
        topology, login = topology_of(client)
        super().__init__(topology, login, prefix=prefix, expire_after_s=None if ttl_ms is None else ttl_ms / 1000)
        self._sweeper = RetentionSweeper(history)


class RedisChannelsBackend(LogChannelsBackend):
    """The common part of both classes. The client defines the servers and the login; the connections are chatkit's own.

    As with Litestar's classes, `publish` and `get_history` work before `on_startup`: they then connect for each call.
    """

    def __init__(self, client: Client, prefix: str, make: Callable[[], Backend], history: int | None) -> None:
        _, login = topology_of(client)  # raises here if the client cannot be used
        self._redis = client
        self._names = KeyNames(prefix, login.database)
        super().__init__(make, history=history)

    async def publish(self, data: bytes, channels: Iterable[str]) -> list[Published]:  # type: ignore[override]  # None
        """Commit an event in each channel. Return when Redis has stored all. Raise `Unavailable` or `StoreError`."""
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


class RedisChannelsStreamBackend(StreamKeyName, RedisChannelsBackend):
    """Channels in Redis, each a stream that keeps the newest `history` events.

    `stream_ttl`, in milliseconds or as a timedelta, deletes a channel after that time without an event; without it,
    channels are kept. `stream_sleep_no_subscriptions` and `cap_streams_approximate` have no effect: nothing is polled,
    and histories are exact.
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

    async def flush_all(self) -> int:
        """Delete every channel under the `key_prefix`, also on a cluster. Return the number of deleted streams."""
        n_streams = 0
        async for key in self._redis.scan_iter(match=self._names.pattern, count=SCAN_STEP):
            room = self._names.room(key if isinstance(key, bytes) else key.encode())
            names = self._names.of(room)
            n_streams += await self._redis.exists(names.log)
            await self._redis.unlink(*names.stored)
        return n_streams


class RedisChannelsPubSubBackend(PubSubKeyName, RedisChannelsBackend):
    """Channels in Redis that deliver events and store none.

    `stream_sleep_no_subscriptions` has no effect: nothing is polled.
    """

    def __init__(
        self,
        *,
        redis: Client,
        stream_sleep_no_subscriptions: int = 1,  # noqa: ARG002 - the reference's
        key_prefix: str = KEY_PREFIX,
    ) -> None:
        prefix = f"{key_prefix}:"  # differs from that of streams: the two kinds share no channel

        def make() -> Backend:
            return RedisPubSubBackend(*topology_of(redis), prefix=prefix)

        super().__init__(redis, prefix, make, None)
