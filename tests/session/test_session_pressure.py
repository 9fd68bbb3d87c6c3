"""Sessions under load: order, back-pressure in both directions, and a complete clean-up."""

import asyncio

import pytest
from faulty_backend import Faults
from harness import publish_all, run, turns, until
from session_host import Host, hosted

from chatkit.core.hub import Hub
from chatkit.errors import Unavailable
from chatkit.session import session as session_module
from chatkit.session.session import MAX_JOBS, MAX_OUTSTANDING

pytestmark = pytest.mark.usefixtures("no_pauses")


def test_commands_that_wait_for_the_store_run_in_order() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, "hi")
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
def test_a_failed_join_is_answered_and_can_be_repeated(failing: str) -> None:
    async def test(host: Host) -> None:
        client = await host.json()
        host.backend.failures[failing] = Unavailable("away")
        error = await client.ask("join", room="ops", ref=1)
        assert (error["type"], error["code"]) == ("error", "unavailable")
        host.backend.failures.clear()
        assert (await client.ask("join", room="ops", ref=2))["type"] == "joined"

    hosted(test)


def test_reading_pauses_if_a_client_publishes_faster_than_the_store_commits() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        release = host.backend.hold("append")
        for n in range(MAX_OUTSTANDING + 20):
            assert client.socket.is_paused == (n >= MAX_OUTSTANDING)
            client.send("publish", body=str(n))
        assert client.socket.pauses == 1
        release.set()
        await until(lambda: not client.socket.is_paused)
        await until(lambda: len(client.bodies()) == MAX_OUTSTANDING + 20)
        client.send("publish", body="more")
        assert not client.socket.is_paused

    hosted(test)


def test_reading_pauses_if_a_client_asks_faster_than_the_store_answers() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        release = host.backend.hold("read")
        for n in range(MAX_JOBS + 5):
            client.send("history", ref=n)
        await turns()
        assert client.socket.is_paused
        release.set()
        await client.answer(MAX_JOBS + 4)
        assert not client.socket.is_paused

    hosted(test)


@pytest.mark.parametrize("first", ["append", "read"])
def test_reading_that_was_paused_for_two_reasons_resumes_when_both_are_gone(first: str) -> None:
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
def test_answers_to_a_client_that_does_not_read_are_bounded(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_UNREAD_BYTES", 20_000)

    async def test(host: Host) -> None:
        await publish_all(host.hub, *("x" * 1000 for _ in range(20)))
        client = await host.json("ops")
        await turns()
        client.socket.pop_events()
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
def test_a_client_that_leaves_at_any_time_leaves_nothing_behind(op: str, steps: int) -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(200))
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
def test_a_start_that_is_cancelled_at_any_time_leaves_nothing_behind(steps: int) -> None:
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


def test_a_session_that_outlives_the_hub_gets_an_error() -> None:
    async def main() -> None:
        async with Faults() as backend:
            async with Hub(backend) as hub:
                host = Host(hub, backend)
                client = await host.json("ops")
                plain = await host.text("ops")
            client.socket.pop_events()
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


def test_a_binary_frame_and_a_failure_close_the_connection_with_their_codes() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        client.session.received_binary()
        assert client.socket.closed == [(1003, "text frames only")]
        client.session.fail(Unavailable("away"))
        assert client.socket.closed[1] == (4503, "away")
        assert client.socket.events[-1]["code"] == "unavailable"

    hosted(test)
