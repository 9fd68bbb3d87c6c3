"""Redis, beyond the backend contract: the number of calls, stored data, isolation, opening."""

import asyncio
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import stores
from redis.asyncio import Redis as RedisClient
from redis_retries import append_until_taken, calls_of, in_thread, is_a

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, texts, until
from chatkit.backends.redis import RedisBackend
from chatkit.backends.redis import backend as redis_backend
from chatkit.backends.redis.codec import KeyNames
from chatkit.backends.redis.login import ServerFeatures
from chatkit.bench.local.redis import RedisServer
from chatkit.bench.local.store import free_port
from chatkit.core.backend import MessageRedacted, PresenceChange, Reconnected, RoomAdvanced, Typing
from chatkit.core.model import Draft, Member, Receipt
from chatkit.core.page_size import MAX_PAGE_BYTES
from chatkit.errors import ChatkitError, NotFound, StoreError, Unavailable


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server for one test, which may change it in any way."""
    with RedisServer() as own:
        yield own


# Cost


def test_ten_thousand_rooms_are_checked_in_a_few_round_trips(server: RedisServer) -> None:
    rooms = [f"room{n}" for n in range(10_000)]

    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await asyncio.gather(*map(one.watch, rooms))
            assert calls_of(server, "ssubscribe") <= 20
            assert calls_of(server, "evalsha") + calls_of(server, "eval") <= 20
            await in_thread(lambda: server.ask("CONFIG", "RESETSTAT"))
            notifications = one.notifications()
            await in_thread(lambda: server.ask("CLIENT", "KILL", "TYPE", "pubsub"))
            await two.append([draft for room in rooms[:1000] for draft in drafts_in(room, 1)])
            seen = await until(notifications, is_a(Reconnected))
            while len({item.room for item in seen if isinstance(item, RoomAdvanced)}) < 1000:
                seen += await until(notifications, is_a(RoomAdvanced))
            assert calls_of(server, "ssubscribe") <= 60  # about thirty attempts
            assert calls_of(server, "evalsha") <= 60

    asyncio.run(go())


def test_a_room_unsubscribed_during_its_subscription_stays_unsubscribed(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            assert isinstance(backend, RedisBackend)
            pubsub = backend._listener.pubsub
            subscribing = pubsub.subscribe(["a", "b"])
            pubsub.unsubscribe(["a"])
            await subscribing
            await backend._listener.wait_received(["a"])
            await backend.watch("c")
            assert sorted(server.ask("PUBSUB", "SHARDCHANNELS").split()) == ["chatkit:{b}:news", "chatkit:{c}:news"]

    asyncio.run(go())


def test_members_are_read_once_and_then_only_their_changes(server: RedisServer) -> None:
    members = [("a", Member(f"member {n}", n)) for n in range(3_000)]

    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.announce("p1", joined=members, left=[], ttl_s=60)
            await two.announce("p2", joined=[], left=[], ttl_s=60)
            (first,) = await two.poll_presence("p2")
            assert set(first.joined) == set(members)
            for n in range(5):
                await one.announce("p1", joined=[("b", Member("new", n))], left=[members[n]], ttl_s=60)
                (then,) = await two.poll_presence("p2")
                assert then == PresenceChange("p1", [("b", Member("new", n))], [("a", f"member {n}")])
                assert await two.poll_presence("p2") == []
            assert calls_of(server, "hgetall") == 1

    asyncio.run(go())


def test_members_are_announced_again_after_a_flush(server: RedisServer) -> None:
    bob, cat = ("a", Member("bob", 1)), ("b", Member("cat", 2))

    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            await one.announce("p1", joined=[bob, cat], left=[], ttl_s=60)
            await in_thread(lambda: server.ask("FLUSHALL"))
            await one.announce("p1", joined=[], left=[bob], ttl_s=60)
            assert await two.poll_presence("p2") == [PresenceChange("p1", [cat], whole=True)]

    asyncio.run(go())


# Stored data, and isolation


def test_a_redacted_body_is_deleted_from_the_servers_memory(server: RedisServer) -> None:
    secret = secrets.token_hex(16)

    def is_there() -> bool:
        return secret in server.ask("DUMP", "chatkit:{a}:log")

    async def go() -> None:
        server.ask("CONFIG", "SET", "rdbcompression", "no")
        async with open_backend(server.url) as backend:
            await backend.append([*drafts_in("a", *range(700)), *drafts_in("a", secret), *drafts_in("a", *range(700))])
            assert is_there()
            await backend.redact("a", 701)
            assert not is_there()
            assert (await texts(backend, "a"))[699:702] == ["699", "", "0"]
            kept = {f"chatkit:{{a}}:{part}" for part in ("log", "meta", "gone")}
            assert set(server.ask("KEYS", "*").splitlines()) == kept

    asyncio.run(go())


def test_prefixes_and_databases_are_isolated(server: RedisServer) -> None:
    urls = [
        server.url,
        f"{server.url}/1",
        *(f"{server.url}?prefix={quote(prefix)}" for prefix in ("*", "[a-z]?\\", "ü ", "chatkit:chatkit:")),
    ]

    async def go() -> None:
        backends = [open_backend(url) for url in urls]
        for backend in backends:
            await backend.__aenter__()
        try:
            for backend in backends:
                await backend.watch("a")
            for n, backend in enumerate(backends):
                await backend.append(drafts_in("a", n))
                await backend.announce("p", joined=[("a", Member(f"m{n}", n))], left=[], ttl_s=60)
            for n, backend in enumerate(backends):
                assert await texts(backend, "a") == [str(n)]
                assert [info.room for info in await backend.rooms()] == ["a"]
                assert await backend.poll_presence("other") == [
                    PresenceChange("p", [("a", Member(f"m{n}", n))], whole=True)
                ]
                await backend.typing("a", "ann")
                await backend.redact("a", 1)
                assert await until(backend.notifications(), is_a(MessageRedacted)) == [MessageRedacted("a", 1)]
        finally:
            for backend in backends:
                await backend.__aexit__(None, None, None)

    asyncio.run(go())


def test_typing_is_received_by_other_processes_only(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as one, open_backend(server.url) as two:
            for backend in (one, two):
                await backend.watch("a")
            await one.typing("a", 'ann "\\')
            await one.typing("unwatched", "ann")
            assert await until(two.notifications(), is_a(Typing)) == [Typing("a", 'ann "\\')]
            await two.append(drafts_in("a", 1))
            assert not any(isinstance(item, Typing) for item in await until(one.notifications(), is_a(RoomAdvanced)))

    asyncio.run(go())


@pytest.mark.parametrize("junk", ["", "junk", '["x","A"]', '["x","R","e",1.5]', '["x","A","e",1,1,[["ann"]]]', "\x00"])
def test_foreign_publications_do_not_stop_notifications(junk: str) -> None:
    url = stores.redis()
    channel = KeyNames(url.partition("prefix=")[2], 0).of("a").channel

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            assert isinstance(two, RedisBackend)
            await one.watch("a")
            assert await two._router.call("writes", 0, ("SPUBLISH", channel, junk)) == 1
            await two.append(drafts_in("a", 1))
            advanced = (await until(one.notifications(), is_a(RoomAdvanced)))[-1]
            assert isinstance(advanced, RoomAdvanced)
            assert advanced.last == 1

    asyncio.run(go())


def test_a_large_batch_is_published_without_its_messages() -> None:
    url = stores.redis()

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            await one.watch("a")
            await two.append([Draft("a", "ann", "x" * 60_000) for _ in range(40)])
            advanced = (await until(one.notifications(), is_a(RoomAdvanced)))[-1]
            assert isinstance(advanced, RoomAdvanced)
            assert (advanced.last, list(advanced.messages)) == (40, [])
            page = await one.read("a", after=0)
            page = await one.read("a", after=page.messages[-1].seq)
            assert len(page.messages) == MAX_PAGE_BYTES // 60_000

    asyncio.run(go())


# Opening


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (("CONFIG", "SET", "requirepass", "right"), StoreError, "rejected the login"),
        (("ACL", "SETUSER", "default", "-@all"), StoreError, "denies the user"),
        (("SHUTDOWN", "NOSAVE"), Unavailable, "does not answer"),
    ],
)
def test_an_unusable_store_raises_an_error_with_the_reason(
    server: RedisServer, change: tuple[str, ...], kind: type[ChatkitError], words: str
) -> None:
    async def go() -> None:
        url = server.url.replace("//", "//:wr0ng-passw0rd@") if "requirepass" in change else server.url
        if change[0] == "SHUTDOWN":
            server.kill()
        else:
            server.ask(*change)
        with pytest.raises(kind, match=words) as caught:
            async with open_backend(url):
                pass
        assert "wr0ng" not in str(caught.value)

    asyncio.run(go())


def test_user_and_password_are_used(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "bob", "on", ">s3cret/", "~*", "&*", "+@all")

    async def go() -> None:
        async with open_backend(server.url.replace("//", "//bob:s3cret%2F@")) as backend:
            await backend.append(drafts_in("a", 1))
            assert server.ask("CLIENT", "LIST").count("user=bob") == 3  # notifications, pages, writes

    asyncio.run(go())


def test_a_tls_server_is_accepted_only_with_a_trusted_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*words, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    port = free_port()
    with RedisServer(("--tls-port", str(port), "--tls-auth-clients", "no", *files)):

        async def go() -> None:
            async with open_backend(f"rediss://127.0.0.1:{port}") as backend:
                await backend.append(drafts_in("a", 1))
                assert await texts(backend, "a") == ["1"]

        with pytest.raises(Unavailable, match="certificate"):
            asyncio.run(go())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        asyncio.run(go())


def test_servers_before_redis_7_use_unsharded_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer servers know both kinds; the test checks that only unsharded channels are used."""

    async def report_an_old_version(_: object) -> ServerFeatures:
        return ServerFeatures(is_sharded=False)

    monkeypatch.setattr(redis_backend, "check_server", report_an_old_version)
    with RedisServer() as server:

        async def go() -> None:
            async with open_backend(server.url) as one, open_backend(server.url) as two:
                await one.watch("a")
                await two.append(drafts_in("a", 1))
                await until(one.notifications(), is_a(RoomAdvanced))
                await one.unwatch("a")
                await one.watch("b")
                await two.append([*drafts_in("a", 2), *drafts_in("b", 1)])
                seen = await until(one.notifications(), is_a(RoomAdvanced))
                assert [item.room for item in seen if isinstance(item, RoomAdvanced)] == ["b"]
            assert calls_of(server, "publish") == 3
            assert calls_of(server, "spublish") + calls_of(server, "ssubscribe") == 0

        asyncio.run(go())


def test_a_message_that_replicas_lack_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.backends.redis.writer.WAIT_MS", 50)
    url = f"{stores.redis()}&wait=1"

    async def go() -> None:
        async with open_backend(url) as backend:
            with pytest.raises(Unavailable, match="fewer than 1 replicas"):
                await backend.append(drafts_in("a", 1))

    asyncio.run(go())


def test_a_message_on_a_replica_is_acknowledged(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    with RedisServer(("--replicaof", f"127.0.0.1 {server.port}")) as replica:

        async def go() -> None:
            async with open_backend(f"{server.url}?wait=1") as backend:
                await append_until_taken(backend, "a", "k")
                assert replica.ask("XLEN", "chatkit:{a}:log") == "1"

        asyncio.run(go())


def test_a_replica_accepts_no_messages(server: RedisServer) -> None:
    with RedisServer(("--replicaof", f"127.0.0.1 {server.port}")) as replica:

        async def go() -> None:
            async with open_backend(replica.url) as backend:
                with pytest.raises(Unavailable, match="is a replica now"):
                    await backend.append(drafts_in("a", 1))

        asyncio.run(go())


def test_keys_of_an_older_version_still_detect_repeats_of_their_senders() -> None:
    url = stores.redis()
    names = KeyNames(url.partition("prefix=")[2], 0).of("a")

    async def go() -> None:
        async with open_backend(url) as backend, RedisClient.from_url(url.partition("?")[0]) as client:
            drafts = [Draft("a", 'ann "ä"', "one", key="k"), Draft("a", "ann", "two", key="l")]
            stored = await backend.append(drafts)
            await client.delete(names.keys)  # keys without senders, as an older version stores them
            await client.hdel(names.meta, "by_sender")
            await client.zadd(names.keys, {"k": 1, "l": 2})
            left = await backend.redact("a", 2)
            found = await backend.append([*drafts, Draft("a", "bob", "1", key="k"), Draft("a", "bob", "2", key="l")])
            assert found[:2] == [Receipt(stored[0].message, repeat=True), Receipt(left, repeat=True)]
            assert [receipt.repeat for receipt in found[2:]] == [False, False]
            (other,) = await backend.append([Draft("a", "bob", "other", key="k")])
            assert other == Receipt(found[2].message, repeat=True, conflict=True)
            assert await client.hget(names.meta, "by_sender") is None
            await backend.trim(keep=0)
            await backend.append([Draft("a", "ann", "after", key="m")])
            assert await client.hget(names.meta, "by_sender") == b"1"

    asyncio.run(go())


# Without history


def test_without_history_messages_are_numbered_and_delivered_but_not_stored() -> None:
    url = stores.redis().replace("redis://", "redis+pubsub://")

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            assert not one.keeps_history
            await one.watch("a")
            first = await two.append(drafts_in("a", 1, 2))
            second = await two.append([Draft("a", "ann", "3", key="k"), Draft("b", "ann", "1", key="k")])
            seqs = [receipt.message.seq for receipt in (*first, *second)]
            assert seqs == [1, 2, 3, 1]
            received = await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.last == 3)
            messages = [message for item in received if isinstance(item, RoomAdvanced) for message in item.messages]
            assert messages == [receipt.message for receipt in (*first, second[0])]
            page = await one.read("a", after=0)
            assert (page.head.first, page.head.last, list(page.messages), page.complete) == (4, 3, [], True)
            assert page.head.epoch == messages[0].epoch
            assert [info.room for info in await one.rooms()] == ["a", "b"]
            assert await one.trim(keep=0) == 0
            with pytest.raises(NotFound):
                await one.redact("a", 1)

    asyncio.run(go())
