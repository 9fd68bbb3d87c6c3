"""A session's order, its back-pressure both ways, and an end that leaves nothing behind."""

import asyncio

import pytest
from harness import Faults, run, say, turns, until
from session_host import Host, hosted

from chatkit.core.hub import Hub
from chatkit.errors import Unavailable
from chatkit.session import session as session_module
from chatkit.session.session import MAX_JOBS, MAX_OUTSTANDING

pytestmark = pytest.mark.usefixtures("no_pauses")


def test_commands_that_wait_are_done_in_order() -> None:
    async def test(host: Host) -> None:
        await say(host.hub, "hi")
        client = await host.json()
        host.backend.turns = 3
        client.send("join", room="ops", ref=1)
        client.send("history", room="ops", ref=2)
        client.send("leave", room="ops", ref=3)
        client.send("join", room="ops", ref=4)
        client.send("history", room="ops", limit=-1, ref=5)
        await client.answer(5)
        assert [event["ref"] for event in client.socket.events if "ref" in event] == [1, 2, 3, 4, 5]
        assert host.hub.counts["subscriptions"] == 1

    hosted(test)


@pytest.mark.parametrize("failing", ["watch", "read"])
def test_a_join_that_fails_is_told_and_can_be_tried_again(failing: str) -> None:
    async def test(host: Host) -> None:
        client = await host.json()
        host.backend.failures[failing] = Unavailable("away")
        error = await client.ask("join", room="ops", ref=1)
        assert (error["type"], error["code"]) == ("error", "unavailable")
        host.backend.failures.clear()
        assert (await client.ask("join", room="ops", ref=2))["type"] == "joined"

    hosted(test)


def test_a_client_that_publishes_faster_than_the_store_commits_is_read_no_further() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        gate = host.backend.hold("append")
        for n in range(MAX_OUTSTANDING + 20):
            assert client.socket.is_paused == (n >= MAX_OUTSTANDING)
            client.send("publish", body=str(n))
        assert client.socket.pauses == 1
        gate.set()
        await until(lambda: not client.socket.is_paused)
        await until(lambda: len(client.bodies()) == MAX_OUTSTANDING + 20)
        client.send("publish", body="more")
        assert not client.socket.is_paused

    hosted(test)


def test_a_client_that_asks_faster_than_the_store_answers_is_read_no_further() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        gate = host.backend.hold("read")
        for n in range(MAX_JOBS + 5):
            client.send("history", ref=n)
        await turns()
        assert client.socket.is_paused
        gate.set()
        await client.answer(MAX_JOBS + 4)
        assert not client.socket.is_paused

    hosted(test)


@pytest.mark.parametrize("first", ["append", "read"])
def test_a_client_held_for_two_reasons_is_held_until_both_are_gone(first: str) -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        gates = {method: host.backend.hold(method) for method in ("append", "read")}
        for n in range(max(MAX_JOBS, MAX_OUTSTANDING) + 5):
            client.send("publish", body="x")
            if n <= MAX_JOBS:
                client.send("history")
        await turns()
        gates.pop(first).set()
        if first == "append":
            await until(lambda: client.session._n_outstanding == 0)
        else:
            await until(lambda: not client.session._jobs)
        assert client.socket.is_paused
        gates.popitem()[1].set()
        await until(lambda: not client.socket.is_paused)

    hosted(test)


@pytest.mark.parametrize("op", ["history", "members", "publish", "sing"])
def test_a_client_that_does_not_take_its_answers_does_not_fill_the_server(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MAX_UNREAD_BYTES", 20_000)

    async def test(host: Host) -> None:
        await say(host.hub, *("x" * 1000 for _ in range(20)))
        client = await host.json("ops")
        await turns()
        client.socket.take()
        client.socket.is_writable = False
        asked = 0
        while not client.socket.is_paused:
            assert asked < 1000, "it was never held"
            client.send(op, ref=asked, **({"body": "x"} if op == "publish" else {}))
            asked += 1
            await turns(4)
        unread = sum(map(len, client.socket.texts))
        assert 20_000 < unread < 70_000
        await turns()
        assert sum(map(len, client.socket.texts)) <= unread + 30_000
        client.socket.is_writable = True
        client.session.writable_again()
        await until(lambda: not client.socket.is_paused)
        for ref in range(asked):
            await client.answer(ref)

    hosted(test)


@pytest.mark.parametrize("steps", range(24))
@pytest.mark.parametrize("op", ["join", "join again", "history", "leave", "publish"])
def test_whenever_a_client_leaves_nothing_of_it_stays(op: str, steps: int) -> None:
    async def test(host: Host) -> None:
        await say(host.hub, *range(200))
        client = await host.json("other" if op == "join" else "ops")
        host.backend.turns = 2
        for ref in range(3):
            client.send(op.removesuffix(" again"), room="ops", history=150, ref=ref, body="x")
        await turns(steps)
        client.session.closed(1006)
        n_texts = len(client.socket.texts)
        await turns(60)
        if op in {"publish", "history"}:
            assert len(client.socket.texts) <= n_texts + 1
        assert host.hub.counts["subscriptions"] == 0

    hosted(test)


@pytest.mark.parametrize("steps", range(14))
def test_whenever_a_start_is_cancelled_nothing_of_it_stays(steps: int) -> None:
    async def test(host: Host) -> None:
        host.backend.turns = 3
        starting = asyncio.ensure_future(host.json("ops"))
        await turns(steps)
        starting.cancel()
        await asyncio.wait([starting])
        for client in host.clients:
            client.session.closed(1000)
        await until(lambda: host.hub.counts == {"rooms": 0, "subscriptions": 0})

    hosted(test)


def test_a_session_that_outlives_the_hub_is_told_that_it_ends() -> None:
    async def main() -> None:
        async with Faults() as backend:
            async with Hub(backend) as hub:
                host = Host(hub, backend)
                client = await host.json("ops")
                plain = await host.text("ops")
            client.socket.take()
            for op in ("publish", "join", "history"):
                client.send(op, body="x", ref=op)
            assert [(event["ref"], event["code"]) for event in client.socket.events] == [
                (op, "unavailable") for op in ("publish", "join", "history")
            ]
            plain.session.received_text(b"hi")
            assert plain.socket.texts == [b"! the server is shutting down"]
            for session in (client.session, plain.session):
                session.writable_again()
                session.closed(1001)

    run(main())


def test_a_binary_frame_ends_it_and_a_failure_closes_with_its_code() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        client.session.received_binary()
        assert client.socket.closed == [(1003, "text frames only")]
        client.session.fail(Unavailable("away"))
        assert client.socket.closed[1] == (4503, "away")
        assert client.socket.events[-1]["code"] == "unavailable"

    hosted(test)
