"""Several servers on one store, for each shared store: they show the same rooms."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import short_times
import stores
from raw_client import Talk, call, eventually, publish, run
from serving import ServerProcess, clean_environment, serve

from chatkit.client import Client

KINDS = ("sqlite", "redis", "redis-cluster", "postgres")


def shared_url(kind: str, folder: Path) -> str:
    fresh = {"redis": stores.redis, "redis-cluster": stores.redis_cluster, "postgres": stores.postgres}
    return fresh[kind]() if kind in fresh else f"sqlite:///{folder}/rooms.db"


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServerProcess]]:
    """Two servers on one store. Each test uses a room of its own."""
    folder = tmp_path_factory.mktemp(request.param)
    url = shared_url(request.param, folder)
    with ExitStack() as stack:
        yield [stack.enter_context(serve(url, "--rate-limit", "0", folder=folder)) for _ in range(2)]


async def until_joined(talk: Talk, name: str) -> None:
    """Wait until a member is reported to have joined: alone, or together with those that joined just before."""
    while name not in (await talk.until("presence"))["joined"]:
        pass


def test_changes_through_one_server_reach_the_other(pair: list[ServerProcess]) -> None:
    one, two = pair

    async def story() -> None:
        async with Talk.open(one, "/ws/changes?name=ann") as ann, Talk.open(two, "/ws/changes?name=bob") as bob:
            await ann.until("joined")
            await bob.until("joined")
            await until_joined(ann, "bob")
            assert [await (ann if n % 2 else bob).ask(op="publish", body=str(n)) for n in range(20)]
            for talk in (ann, bob):
                history = await talk.ask(op="history", limit=100)
                assert [message["body"] for message in history["messages"]] == [str(n) for n in range(20)]
            await bob.send(op="typing")
            assert (await ann.until("typing"))["sender"] == "bob"
            assert call(two, "DELETE", "/rooms/changes/messages/3").status in {200, 204}
            await ann.until("redacted", seq=3)
            await bob.until("redacted", seq=3)
            history = await ann.ask(op="history", after=2, limit=1)
            assert history["messages"][0]["redacted"] is True
        async with Talk.open(one, "/ws/changes?name=cat") as cat:
            names = {member["name"] for member in (await cat.ask(op="members"))["members"]}
            if names != {"cat"}:
                await cat.until("presence")

    run(story())
    eventually(lambda: call(one, "GET", "/rooms/changes/members").json["count"] == 0)


def test_a_room_with_members_and_no_messages_is_listed_by_both(pair: list[ServerProcess]) -> None:
    def listed(server: ServerProcess) -> list[tuple[str, int, int]]:
        rooms = call(server, "GET", "/rooms").json["rooms"]
        return [(room["room"], room["last"], room["members"]) for room in rooms if room["room"] == "quiet"]

    async def story() -> None:
        async with Talk.open(pair[0], "/ws/quiet?name=ann") as ann:
            await ann.until("joined")
            await asyncio.to_thread(eventually, lambda: [*map(listed, pair)] == [[("quiet", 0, 1)]] * 2)

    run(story())
    eventually(lambda: [*map(listed, pair)] == [[], []])


def test_both_servers_deliver_everything_in_one_order_while_both_publish(pair: list[ServerProcess]) -> None:
    count = 400

    async def read(server: ServerProcess) -> list[str]:
        async with Talk.open(server, "/ws/order?history=0") as talk:
            await talk.until("joined")
            ready.release()
            return await talk.bodies(2 * count)

    async def story() -> None:
        listening = [asyncio.ensure_future(read(server)) for server in pair for _ in range(3)]
        for _ in listening:
            await ready.acquire()
        async with Client(pair[0].url, "ann") as one, Client(pair[1].url, "bob") as two:
            await asyncio.gather(
                one.publish_all("order", (f"a{n}" for n in range(count))),
                two.publish_all("order", (f"b{n}" for n in range(count))),
            )
        received = [await each for each in listening]
        assert all(each == received[0] for each in received)
        assert [body for body in received[0] if body[0] == "a"] == [f"a{n}" for n in range(count)]
        assert [body for body in received[0] if body[0] == "b"] == [f"b{n}" for n in range(count)]

    ready = asyncio.Semaphore(0)
    run(story())


def test_the_members_of_a_killed_server_expire(tmp_path: Path) -> None:
    async def story(one: ServerProcess, two: ServerProcess) -> None:
        async with Talk.open(one, "/ws/ops?name=ann") as ann, Talk.open(two, "/ws/ops?name=bob"):
            await until_joined(ann, "bob")
            two.kill9()
            await ann.until("presence", left=["bob"])

    env = short_times.shortened("chatkit.core.presence.TTL_S", 2.0)
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(serve(tmp_path / "rooms.db", command=short_times.COMMAND, env=env)) for _ in range(2)
        )
        run(story(one, two))


def test_a_client_resumes_at_another_server(pair: list[ServerProcess]) -> None:
    one, two = pair
    for n in range(30):
        publish(one, "resume", str(n))

    async def story() -> None:
        async with Talk.open(one, "/ws/resume?history=30") as talk:
            joined = await talk.until("joined")
            assert await talk.bodies(30) == [str(n) for n in range(30)]
        epoch = joined["cursor"].split(":")[0]
        for n in range(30, 40):
            publish(one, "resume", str(n))
        async with Talk.open(two, f"/ws/resume?after={epoch}:30") as talk:
            assert await talk.bodies(10) == [str(n) for n in range(30, 40)]

    run(story())


def cli(*words: str) -> str:
    """Run a command of chatkit's, and return what it printed."""
    command = [sys.executable, "-m", "chatkit.cli", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment({})).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_on_the_store_reaches_servers_at_once(kind: str, tmp_path: Path) -> None:
    url = shared_url(kind, tmp_path)

    async def story(server: ServerProcess) -> None:
        async with Talk.open(server, "/ws/ops") as talk:
            await talk.until("joined")
            await asyncio.to_thread(cli, "publish", "ops", "by the back door", "--backend", url)
            assert await talk.bodies(1) == ["by the back door"]

    with serve(url, folder=tmp_path) as server:
        run(story(server))
        listed = cli("history", "ops", "--backend", url)
        assert "by the back door" in listed


def test_without_history_live_messages_are_delivered_and_missed_ones_are_gaps(tmp_path: Path) -> None:
    url = stores.redis().replace("redis://", "redis+pubsub://")

    async def story(one: ServerProcess, two: ServerProcess) -> None:
        async with Talk.open(one, "/ws/ops") as ann:
            await ann.until("joined")
            first = await asyncio.to_thread(call, two, "POST", "/rooms/ops/messages", "received")
            assert first.status == 201
            assert await ann.bodies(1) == ["received"]
        cursor = f"{(await asyncio.to_thread(call, one, 'GET', '/rooms/ops')).json['cursor']}"
        for n in range(3):
            await asyncio.to_thread(call, two, "POST", "/rooms/ops/messages", f"missed {n}")
        async with Talk.open(one, f"/ws/ops?after={cursor}") as ann:
            gap = await ann.until("gap")
            assert {key: gap[key] for key in ("after", "before", "reason")} == {
                "after": 1,
                "before": 5,
                "reason": "no-history",
            }
        page = (await asyncio.to_thread(call, one, "GET", f"/rooms/ops/messages?after={cursor}")).json
        assert (page["messages"], page["gap"]["reason"]) == ([], "no-history")

    with serve(url, folder=tmp_path) as one, serve(url, folder=tmp_path) as two:
        run(story(one, two))
