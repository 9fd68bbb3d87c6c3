"""Redis behind a sentinel: when the master dies, the replica that takes its place is found, and everything goes on."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import stores
from redis_steps import append_until_taken, impatient, in_thread, is_a

from chatkit.backends import open_backend
from chatkit.backends.conformance.case import texts, until
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Reconnected, RoomAdvanced
from chatkit.errors import StoreError

__all__ = ["impatient"]

PASSWORD = "s3cret"  # the servers', not the sentinel's


class Sentinel(RedisServer):
    """A sentinel that watches over one master, and loses patience soon."""

    def __init__(self, master: RedisServer, folder: Path) -> None:
        super().__init__()
        self._conf = folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            f"sentinel monitor rooms 127.0.0.1 {master.port} 1",
            f"sentinel auth-pass rooms {PASSWORD}",
            "sentinel down-after-milliseconds rooms 300",
            "sentinel failover-timeout rooms 3000",
        ]
        self._conf.write_text("\n".join(lines))

    def start(self) -> None:
        """Start, with a file of its own to write to."""
        self._process = subprocess.Popen(
            [self._server, self._conf, "--sentinel"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        (self.folder / "log").touch()
        self._await(self._answers, "does not answer")


def protected(*options: str) -> RedisServer:
    """Return a server with a password, which is asked for by redis-cli, too."""
    return RedisServer(("--requirepass", PASSWORD, "--masterauth", PASSWORD, *options))


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RedisServer, RedisServer, Sentinel]]:
    """A master, its replica, and who watches over them."""
    monkeypatch.setenv("REDISCLI_AUTH", PASSWORD)
    with (
        protected() as master,
        protected("--replicaof", f"127.0.0.1 {master.port}") as replica,
        Sentinel(master, tmp_path) as sentinel,
    ):
        yield master, replica, sentinel


@pytest.mark.usefixtures("impatient")
def test_a_replica_that_takes_the_masters_place_is_found(
    servers: tuple[RedisServer, RedisServer, Sentinel],
) -> None:
    master, replica, sentinel = servers
    url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{sentinel.port}/rooms"

    async def go() -> None:
        async with open_backend(f"{url}?wait=1") as backend:
            await append_until_taken(backend, "a", "1")  # both have it
            async with asyncio.timeout(60):
                while str(replica.port) not in sentinel.ask("SENTINEL", "REPLICAS", "rooms"):  # noqa: ASYNC110 - it asks
                    await asyncio.sleep(0.05)  # now and then, and before, knows nobody to promote
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


def test_a_service_that_the_sentinel_does_not_know_is_named(
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
