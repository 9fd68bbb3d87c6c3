"""Redis with Sentinel: after the master dies, the promoted replica is found and delivery continues."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import stores
from redis_retries import append_until_taken, impatient, in_thread, is_a
from redis_sentinel import PASSWORD, Sentinel

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import texts, until
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Reconnected, RoomAdvanced
from chatkit.errors import StoreError

__all__ = ["impatient"]


def protected(*options: str) -> RedisServer:
    """Return a server with a password, which redis-cli also needs."""
    return RedisServer(("--requirepass", PASSWORD, "--masterauth", PASSWORD, *options))


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RedisServer, RedisServer, Sentinel]]:
    """A master, its replica, and a sentinel."""
    monkeypatch.setenv("REDISCLI_AUTH", PASSWORD)
    with (
        protected() as master,
        protected("--replicaof", f"127.0.0.1 {master.port}") as replica,
        Sentinel(master, tmp_path) as sentinel,
    ):
        yield master, replica, sentinel


@pytest.mark.usefixtures("impatient")
def test_a_promoted_replica_is_found(
    servers: tuple[RedisServer, RedisServer, Sentinel],
) -> None:
    master, replica, sentinel = servers
    url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{sentinel.port}/rooms"

    async def go() -> None:
        async with open_backend(f"{url}?wait=1") as backend:
            await append_until_taken(backend, "a", "1")  # both have it
            async with asyncio.timeout(60):
                while str(replica.port) not in sentinel.ask("SENTINEL", "REPLICAS", "rooms"):  # noqa: ASYNC110 - it polls
                    await asyncio.sleep(0.05)  # the master; until then it knows no replica to promote
        async with open_backend(url) as one, open_backend(url) as two:
            await one.watch("a")
            await in_thread(master.kill)
            async with asyncio.timeout(60):
                await append_until_taken(two, "a", "2")
            seen = await until(one.notifications(), is_a(Reconnected))
            if not any(isinstance(item, RoomAdvanced) and item.last == 2 for item in seen):
                await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.last == 2)
            assert await texts(one, "a") == ["1", "2"]
            assert replica.ask("XLEN", "chatkit:{a}:log") == "2"

    asyncio.run(go())


def test_an_unknown_service_is_named_in_the_error(
    servers: tuple[RedisServer, RedisServer, Sentinel],
) -> None:
    async def go() -> None:
        with pytest.raises(StoreError, match="does not know the service 'others'"):
            async with open_backend(f"redis+sentinel://127.0.0.1:{servers[2].port}/others"):
                pass
        with pytest.raises(StoreError, match="is not a sentinel"):
            async with open_backend(f"redis+sentinel://127.0.0.1:{urlsplit(stores.redis()).port}/rooms"):
                pass

    asyncio.run(go())
