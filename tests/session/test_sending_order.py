"""A client's messages stay in order even if some are refused temporarily and sent again."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import short_times
from harness import turns, until
from serving import serve
from session_host import Allowance, Client, Host, hosted

import chatkit.client
from chatkit.client.signals import ConnectionLost, ConnectionRestored
from chatkit.core.access import EVERYTHING, Credential, Identity, RoomSettings
from chatkit.core.model import Message
from chatkit.errors import RateLimited, Unavailable
from chatkit.session.sending_order import MAX_REFUSED, SendingOrder

pytestmark = pytest.mark.usefixtures("no_pauses")


def publish(client: Client, ref: int, behind: int) -> None:
    client.send("publish", body=str(ref), ref=ref, behind=behind, key=f"k{ref}")


async def outcomes(client: Client, count: int) -> list[tuple[Any, Any]]:
    """Wait for a number of answers; return the ref of each, and its type or code."""

    def found() -> list[dict[str, Any]]:
        return [event for event in client.socket.events if event["type"] in {"ack", "error"}]

    await until(lambda: len(found()) >= count)
    return [(event.get("ref"), event.get("code", "ack")) for event in found()]


def test_messages_after_a_rate_limited_one_are_refused_even_if_the_limit_recovered() -> None:
    async def test(host: Host) -> None:
        allowance = Allowance(0)
        client = await host.json("ops", limiter=allowance)
        publish(client, 1, 0)
        allowance.n_bytes = 10_000
        publish(client, 2, 1)
        publish(client, 3, 2)
        assert await outcomes(client, 3) == [(1, "rate-limited"), (2, "rate-limited"), (3, "rate-limited")]
        assert client.socket.events[-1]["retry_after_s"] == 1.5
        for ref, behind in [(1, 0), (2, 1), (3, 2), (4, 3)]:
            publish(client, ref, behind)
        assert (await outcomes(client, 7))[3:] == [(1, "ack"), (2, "ack"), (3, "ack"), (4, "ack")]
        await until(lambda: client.bodies() == ["1", "2", "3", "4"])

    hosted(test)


def test_messages_after_one_that_the_store_refused_are_not_stored_before_it() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        release = host.backend.hold("append")
        host.backend.failures["append"] = Unavailable("away")
        publish(client, 1, 0)
        await turns()
        publish(client, 2, 1)  # collected while the first is being committed
        release.set()
        assert await outcomes(client, 2) == [(1, "unavailable"), (2, "unavailable")]
        host.backend.failures.clear()
        publish(client, 3, 2)  # was in flight to the server
        assert (await outcomes(client, 3))[2:] == [(3, "unavailable")]
        for ref, behind in [(1, 0), (2, 1), (3, 2)]:
            publish(client, ref, behind)
        await until(lambda: client.bodies() == ["1", "2", "3"])

    hosted(test)


def test_an_invalid_message_does_not_hold_up_later_ones() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        client.send("publish", body="x" * 5_000, ref=1, behind=0)
        publish(client, 2, 1)
        assert await outcomes(client, 2) == [(1, "body-too-large"), (2, "ack")]

    hosted(test)


def test_a_message_that_is_finally_refused_for_good_does_not_hold_up_later_ones() -> None:
    async def test(host: Host) -> None:
        allowance = Allowance(0)
        client = await host.json("ops", limiter=allowance)
        publish(client, 1, 0)
        assert await outcomes(client, 1) == [(1, "rate-limited")]
        allowance.n_bytes = 10_000
        root = Identity("root", grants=EVERYTHING, credential=Credential.STORE)
        await host.hub.moderation.set_room(root, "old", lambda _: RoomSettings(archived=True))
        client.send("publish", body="x", ref=1, behind=0, room="old")
        publish(client, 2, 1)
        assert (await outcomes(client, 3))[1:] == [(1, "forbidden"), (2, "ack")]

    hosted(test)


def test_messages_without_behind_are_answered_independently() -> None:
    async def test(host: Host) -> None:
        allowance = Allowance(0)
        client = await host.json("ops", limiter=allowance)
        client.send("publish", body="1", ref=1)
        allowance.n_bytes = 10_000
        client.send("publish", body="2", ref=2)
        assert await outcomes(client, 2) == [(1, "rate-limited"), (2, "ack")]

    hosted(test)


def test_refused_messages_that_are_never_sent_again_are_dropped() -> None:
    order = SendingOrder()
    for ref in range(MAX_REFUSED + 1):
        order.refused(ref, RateLimited(1.0))
    order.check(0)
    with pytest.raises(RateLimited):
        order.check(MAX_REFUSED)


def test_an_error_that_is_raised_a_thousand_times_does_not_grow() -> None:
    order = SendingOrder()
    error = Unavailable("away")
    order.refused(1, error)
    for _ in range(1_000):
        with pytest.raises(Unavailable):
            order.check(1)
    assert sum(1 for _ in _frames(error)) < 10


def _frames(error: BaseException) -> Any:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def test_a_sender_waits_for_the_store_and_is_notified_once(tmp_path: Path) -> None:
    """Check end to end that the client keeps refused messages, notifies its watcher, and continues in order."""

    async def story(url: str, lock: sqlite3.Connection) -> None:
        seen: list[object] = []
        is_told = asyncio.Event()

        def watch(signal: ConnectionLost | ConnectionRestored) -> None:
            seen.append(signal)
            is_told.set()

        async with chatkit.client.Client(url, "ann", watcher=watch) as client:
            await client.publish("ops", "0")
            lock.execute("BEGIN EXCLUSIVE")
            writing = asyncio.ensure_future(client.publish_all("ops", (str(n) for n in range(1, 500))))
            await is_told.wait()
            lock.execute("COMMIT")
            assert await writing == 499
            bodies = [item.body async for item in client.scroll("ops") if isinstance(item, Message)]
            assert bodies == [str(n) for n in range(500)]
            assert [type(signal) for signal in seen] == [ConnectionLost, ConnectionRestored]

    env = short_times.shortened("chatkit.backends.sqlite.errors.BUSY_TIMEOUT_S", 1.0)
    with serve(tmp_path / "rooms.db", command=short_times.COMMAND, env=env) as server:
        lock = sqlite3.connect(tmp_path / "rooms.db", isolation_level=None)
        try:
            asyncio.run(asyncio.wait_for(story(server.url, lock), 60))
        finally:
            lock.close()


def test_long_refs_of_refused_messages_are_bounded() -> None:
    order = SendingOrder()
    error = Unavailable("away")
    for n in range(1_000):
        order.refused(f"{n:x>10000}", error)
        with pytest.raises(Unavailable):
            order.check(f"{n:x>10000}")
    assert len(order._refused) < 10
    for n in range(1_000):
        order.forget(f"{n:x>10000}")
        order.refused("short", error)
    assert order._n_chars == len("short")
