"""The Redis classes: accepted clients, stored data, and a restart of Redis."""

import asyncio
import subprocess
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from channel_backends import fresh, go_on_after_a_restart, redis, redis_cluster, started
from channels import read_events, run, until
from litestar.exceptions import ImproperlyConfiguredException
from redis import Redis as SyncRedis
from redis.asyncio import BlockingConnectionPool, Connection, ConnectionPool, Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.credentials import UsernamePasswordCredentialProvider
from redis_sentinel import Sentinel as SentinelServer

from chatkit.backends import open_backend
from chatkit.bench.local.redis import RedisServer
from chatkit.bench.local.store import free_port
from chatkit.errors import Unavailable
from chatkit.litestar import ChannelsPlugin, RedisChannelsPubSubBackend, RedisChannelsStreamBackend


async def check(client: Any) -> None:
    """Check that both classes work with a client, and do not open it."""
    stream = RedisChannelsStreamBackend(5, redis=client, key_prefix=fresh())
    for backend in (stream, RedisChannelsPubSubBackend(redis=client)):
        async with started(backend):
            await backend.subscribe(["foo"])
            await backend.publish(b"something", ["foo"])
            assert await anext(backend.stream_events()) == ("foo", b"something")
    assert await stream._redis.exists(stream._make_key("foo")) == 1
    assert await stream.flush_all() == 1
    await client.aclose(close_connection_pool=True)


# Clients


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decode_responses": True},
        {"decode_responses": True, "encoding": "latin-1"},
        {"protocol": 2},
        {"socket_timeout": 0.001, "health_check_interval": 1},
        {"single_connection_client": True},
        {"db": 3},
        {"client_name": "mine"},
    ],
)
def test_options_of_the_client_do_not_affect_chatkit(options: dict[str, Any]) -> None:
    if "socket_timeout" in options:  # chatkit does not use the client to send events
        backend = RedisChannelsStreamBackend(5, redis=redis(**options), key_prefix=fresh())
        run(_publish_and_hear(backend))
    else:
        run(check(redis(**options)))


async def _publish_and_hear(backend: Any) -> None:
    async with started(backend):
        await backend.subscribe(["foo"])
        await backend.publish(b"something", ["foo"])
        assert await anext(backend.stream_events()) == ("foo", b"something")


def test_other_connection_pools_are_accepted() -> None:
    pool = redis().connection_pool
    kwargs = {name: pool.connection_kwargs[name] for name in ("host", "port")}
    run(check(Redis(connection_pool=BlockingConnectionPool(**kwargs, decode_responses=True))))


def test_databases_are_isolated() -> None:
    async def main() -> None:
        prefix = fresh()
        one, two = (RedisChannelsStreamBackend(5, redis=redis(db=database), key_prefix=prefix) for database in range(2))
        async with started(one, two):
            await one.subscribe(["foo"])
            await two.publish(b"theirs", ["foo"])
            await one.publish(b"ours", ["foo"])
            assert await anext(one.stream_events()) == ("foo", b"ours")
            assert await two.get_history("foo") == [b"theirs"]

    run(main())


@pytest.mark.parametrize("way", ["password", "user", "provider", "socket", "name"])
def test_the_clients_login_is_used(way: str) -> None:
    with (
        TemporaryDirectory(prefix="ck-") as folder,  # a short path: Redis truncates long ones in its list
        RedisServer(("--unixsocket", str(path := Path(folder) / "redis.sock"))) as server,
    ):
        server.ask("ACL", "SETUSER", "bob", "on", ">s3cret/", "~*", "&*", "+@all")
        match way:
            case "password":
                server.ask("CONFIG", "SET", "requirepass", "only this")
                client = Redis(port=server.port, password="only this")
            case "user":
                client = Redis(port=server.port, username="bob", password="s3cret/")
            case "provider":
                provider = UsernamePasswordCredentialProvider("bob", "s3cret/")
                client = Redis(port=server.port, credential_provider=provider)
            case "socket":
                client = Redis(unix_socket_path=str(path))
            case _:
                client = Redis(port=server.port, client_name="bob")

        async def main() -> None:
            if way != "password":
                backend = RedisChannelsStreamBackend(5, redis=client)
                async with started(backend):
                    clients = await asyncio.to_thread(server.ask, "CLIENT", "LIST")
                sign = {"socket": str(path), "name": "name=bob"}.get(way, "user=bob")
                assert clients.count(sign) >= 2
            await check(client)

        run(main())


def test_the_certificates_that_a_client_trusts_are_trusted(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*words, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    port = free_port()
    with RedisServer(("--tls-port", str(port), "--tls-auth-clients", "no", *files)):
        run(check(Redis(host="127.0.0.1", port=port, ssl=True, ssl_ca_certs=str(certificate))))
        with pytest.raises(Unavailable, match="certificate"):
            run(check(Redis(host="127.0.0.1", port=port, ssl=True)))


def test_a_sentinel_client_connects_to_the_master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer() as master, SentinelServer(master, tmp_path) as server:

        async def main() -> None:
            sentinel = Sentinel([("127.0.0.1", server.port)])  # type: ignore[no-untyped-call]  # redis-py's
            await check(sentinel.master_for("rooms"))
            with pytest.raises(ImproperlyConfiguredException, match="connects to replicas"):
                RedisChannelsPubSubBackend(redis=sentinel.slave_for("rooms"))
            for each in sentinel.sentinels:
                await each.aclose()

        run(main())


class _Recorded(Connection):
    """A connection class that chatkit does not know."""


@pytest.mark.parametrize("client", [SyncRedis(), Redis(connection_pool=ConnectionPool(connection_class=_Recorded))])
def test_an_unsupported_client_is_rejected_at_once(client: Any) -> None:
    with pytest.raises(ImproperlyConfiguredException, match=r"cannot be used: it must be a client of redis\.asyncio"):
        RedisChannelsStreamBackend(5, redis=client)


def test_one_publish_to_several_channels_works_on_a_cluster() -> None:
    async def main() -> None:
        client = redis_cluster()
        backend = RedisChannelsStreamBackend(5, redis=client, key_prefix=fresh())
        channels = {f"room{number}" for number in range(50)}
        async with started(backend):
            await backend.subscribe(channels)
            await backend.publish(b"all", channels)
            stream = backend.stream_events()
            assert {await anext(stream) for _ in channels} == {(name, b"all") for name in channels}
            assert isinstance(client, RedisCluster)
            assert await backend.flush_all() == 50
            assert await backend.get_history("room1") == []
        await client.aclose()

    run(main())


# Stored data


def test_a_channel_is_a_room_under_the_prefix() -> None:
    async def main() -> None:
        client, prefix = redis(), fresh()
        backend = RedisChannelsStreamBackend(5, redis=client, key_prefix=prefix)
        kwargs = client.connection_pool.connection_kwargs
        async with open_backend(f"redis://{kwargs['host']}:{kwargs['port']}?prefix={prefix}_") as rooms:
            await backend.publish(b"hello", ["ops"])
            assert [message.body for message in (await rooms.read("ops")).messages] == ["hello"]
        assert await client.xlen(backend._make_key("ops")) == 1
        assert backend._make_key("ops") == f"{prefix}_{{ops}}:log"
        assert backend._make_key("OPS") != backend._make_key("ops") != backend._make_key("user:1")
        await client.aclose()

    run(main())


def test_publishing_and_reading_work_before_the_start() -> None:
    async def main() -> None:
        backend = RedisChannelsStreamBackend(5, redis=redis(), key_prefix=fresh())
        assert await backend.get_history("foo") == []
        published = await backend.publish(b"1", ["foo", "bar"])
        assert [(each.channel, each.seq) for each in published] == [("foo", 1), ("bar", 1)]
        async with started(backend):
            await backend.publish(b"2", ["foo"])
        assert await backend.get_history("foo") == [b"1", b"2"]
        assert await backend.get_history("foo", 1) == [b"2"]
        assert await backend.get_history("foo", 0) == []

    run(main())


def test_flushing_deletes_all_channels_of_one_prefix_only() -> None:
    async def main() -> None:
        client, prefix = redis(), fresh()
        mine = RedisChannelsStreamBackend(5, redis=client, key_prefix=prefix)
        longer = RedisChannelsStreamBackend(5, redis=client, key_prefix=f"{prefix}_more")
        passing = RedisChannelsPubSubBackend(redis=client, key_prefix=prefix)
        channels = ["foo", "bar", "user:1", "ä"]
        for backend in (mine, longer, passing):
            await backend.publish(b"something", channels)
        await client.set(f"{prefix}_foo", "somebody else's")
        assert await mine.flush_all() == 4
        assert await mine.flush_all() == 0
        assert not [key async for key in client.scan_iter(match=f"{prefix}_{{*")]
        assert await longer.get_history("ä") == [b"something"]
        assert await client.get(f"{prefix}_foo") == b"somebody else's"
        await client.aclose()

    run(main())


def test_readers_continue_after_a_flush() -> None:
    async def main() -> None:
        client = redis()
        backend = RedisChannelsStreamBackend(5, redis=client, key_prefix=fresh())
        async with ChannelsPlugin(backend, channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            for word in ("1", "2"):
                await plugin.wait_published(word, "foo")
            assert await read_events(subscriber, 2) == [b"1", b"2"]
            await backend.flush_all()
            assert await backend.get_history("foo") == []
            assert (await plugin.wait_published("3", "foo")).seq == 1
            assert await read_events(subscriber, 1) == [b"3"]
            assert await backend.get_history("foo") == [b"3"]
        await client.aclose()

    run(main())


@pytest.mark.parametrize("ttl", [60_000, timedelta(minutes=1)])
def test_a_channel_expires_after_its_time_to_live(ttl: Any) -> None:
    async def main() -> None:
        client, prefix = redis(), fresh()
        backend = RedisChannelsStreamBackend(5, redis=client, stream_ttl=ttl, key_prefix=prefix)
        async with started(backend):
            for _ in range(2):
                await backend.publish(b"something", ["foo"])
                keys = [key async for key in client.scan_iter(match=f"{prefix}_{{*")]
                assert len(keys) == 2
                for key in keys:
                    assert 50_000 < await client.pttl(key) <= 60_000
        await client.aclose()

    run(main())


def test_an_expired_channel_starts_again() -> None:
    async def main() -> None:
        client, prefix = redis(), fresh()
        backend = RedisChannelsStreamBackend(5, redis=client, stream_ttl=60_000, key_prefix=prefix)
        async with ChannelsPlugin(backend, channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            await plugin.wait_published("old", "foo")
            keys = [key async for key in client.scan_iter(match=f"{prefix}_{{*")]
            for key in keys:
                await client.pexpire(key, 1)  # as if the time had passed
            while await client.exists(*keys):  # noqa: ASYNC110  # Redis sends no notification
                await asyncio.sleep(0.001)
            assert await backend.get_history("foo") == []
            await plugin.wait_published("new", "foo")
            assert await read_events(subscriber, 2) == [b"old", b"new"]
        await client.aclose()

    run(main())


def test_channels_do_not_expire_by_default() -> None:
    async def main() -> None:
        client = redis()
        backend = RedisChannelsStreamBackend(5, redis=client, key_prefix=fresh())
        await backend.publish(b"something", ["foo"])
        assert await client.pttl(backend._make_key("foo")) == -1
        await client.aclose()

    run(main())


# Faults


@pytest.mark.parametrize("kind", [RedisChannelsStreamBackend, RedisChannelsPubSubBackend])
def test_delivery_continues_after_a_restart_of_redis(kind: Any) -> None:
    with RedisServer() as server:

        async def main() -> None:
            options = {} if kind is RedisChannelsPubSubBackend else {"history": 5}
            one, two = (
                ChannelsPlugin(kind(redis=Redis(port=server.port), **options), channels=["foo"]) for _ in range(2)
            )
            await go_on_after_a_restart(server, one, two)

        run(main())


def test_iterating_over_a_backend_continues_after_a_restart_of_redis() -> None:
    with RedisServer() as server:

        async def main() -> None:
            backend = RedisChannelsStreamBackend(5, redis=Redis(port=server.port))
            async with started(backend):
                await backend.subscribe(["foo"])
                numbers = range(3_000)  # more than the history
                await asyncio.gather(*(backend.publish(b"%d" % number, ["foo"]) for number in numbers))
                await asyncio.to_thread(server.kill)
                stream = backend.stream_events()
                reading = asyncio.create_task(anext(stream))
                await until(lambda: backend.hub.fault)
                with pytest.raises(Unavailable):
                    await backend.get_history("foo")
                await asyncio.to_thread(server.start)
                assert await reading == ("foo", b"0")
                for number in range(1, 3_000):
                    assert await anext(stream) == ("foo", b"%d" % number)

        run(main())
