"""A server that sends anything: the client raises a `ChatkitError` or clamps the value, and always ends."""

import asyncio
import copy
import json
import time
from collections.abc import Awaitable, Coroutine
from contextlib import aclosing, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_server import WELCOME, RawServer, answer, event_frame, handshake

from chatkit.client import Client
from chatkit.client.answer_deadline import ANSWER_TIMEOUT_S, AnswerDeadline
from chatkit.client.endpoint import Endpoint
from chatkit.client.errors import refusal_of_response
from chatkit.client.http import HttpClient
from chatkit.client.http_connection import MAX_ANSWER_BYTES
from chatkit.client.rate_limit import RateLimit
from chatkit.client.validation import (
    MAX_FRAME_BYTES,
    MAX_RETRY_AFTER_S,
    MIN_RETRY_AFTER_S,
    clamp_limits,
    read_event,
    read_time,
)
from chatkit.core.model import Message
from chatkit.errors import ChatkitError, RateLimited, Unavailable
from chatkit.wire.protocol import ErrorEvent, JoinedEvent, PresenceEvent, WireLimits

TIME = "2026-11-20T11:47:21.123Z"
MESSAGE = {"room": "ops", "seq": 1, "time": TIME, "sender": "ann", "body": "hi", "data": {"n": 1}, "key": "k"}
PAGE = {"messages": [MESSAGE], "cursor": "e:1", "first": 1, "last": 1, "complete": True}
ROOM = {"room": "ops", "first": 1, "last": 1, "cursor": "e:1", "members": 1, "time": TIME}
MEMBERS = {"members": [{"name": "ann", "since": TIME}], "count": 1}
# A room is joined again as soon as there is a connection: its `ref` is the second.
JOINED = {"type": "joined", "room": "ops", "cursor": "e:0", "seq": 0, "first": 1, "last": 1, **MEMBERS, "ref": 2}
EVENTS = [
    {"type": "message", **MESSAGE},
    {"type": "gap", "room": "ops", "after": 0, "before": 2, "reason": "trimmed"},
    {"type": "presence", "room": "ops", "joined": ["bob"], "left": ["ann"], "count": 1},
    {"type": "typing", "room": "ops", "sender": "bob"},
    {"type": "redacted", "room": "ops", "seq": 1},
    {"type": "ack", "room": "ops", "seq": 1, "cursor": "e:1", "repeat": False, "ref": 1, "time": TIME},
    {"type": "error", "code": "rate-limited", "message": "too much", "ref": 1, "retry_after_s": 0.1},
    {"type": "error", "code": "unavailable", "message": "the store is away"},
    {"type": "left", "room": "ops"},
    {"type": "restored"},
    {"type": "pong", "ref": 1},
    {"type": "history", "room": "ops", "messages": [MESSAGE], "complete": True},
    {"type": "members", "room": "ops", **MEMBERS},
]
PROBLEM = {"code": "rate-limited", "title": "No", "status": 429, "detail": "no", "retry_after_s": 0.1, "limit": 1}
PATIENCE_S = 60  # bounds a test that would hang; none waits for it

numbers = st.sampled_from([0, -1, 1.5, 2**63, -(2**63), 10**18, 10**40, 1e300, 1e-300, -1e300])
times = st.sampled_from(
    ["", "nonsense", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30"]
)
texts = st.sampled_from(["", "e:", ":1", "e:-1", "e:" + "9" * 30, "$(id)", "\x1b[2J\x07", "\u202e", "x" * 5_000, "e:0"])
deep: Any = json.loads("[" * 200 + "]" * 200)
values = numbers | times | texts | st.sampled_from([None, True, [], {}, deep, ["x"] * 1_000])


@st.composite
def altered(draw: st.DrawFn, document: Any) -> Any:
    """Return a document with up to three values replaced or removed."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        place: Any = changed
        keys: list[tuple[Any, Any]] = []
        while isinstance(place, dict | list) and place and (not keys or draw(st.booleans())):
            keys.append((place, draw(st.sampled_from(list(place if isinstance(place, dict) else range(len(place)))))))
            place = keys[-1][0][keys[-1][1]]
        if keys:
            parent, key = keys[-1]
            if isinstance(parent, dict) and draw(st.integers(0, 4)) == 0:
                del parent[key]
            else:
                parent[key] = copy.deepcopy(draw(values))
    return changed


raw_answers = st.sampled_from(
    [
        b"", b"\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200\r\n\r\n", b"HTTP/1.1 abc X\r\n\r\n",
        b"HTTP/9.9 200 X\r\n\r\n",
        b"HTTP/1.1 999 X\r\n\r\n", b"HTTP/1.1 99999999999 X\r\n\r\n", b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.1 304 X\r\n\r\n",
        b"HTTP/1.1 100 X\r\n\r\n" * 50, b"HTTP/1.1 200 X\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 X\r\nContent-Length: 999999999999999999999\r\n\r\n{}", b"HTTP/1.1 200 X\r\n: x\r\n\r\n{}",
        b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{}", b"HTTP/1.1 200 X\r\n" + b"A: b\r\n" * 200 + b"\r\n{}",
        b"HTTP/1.1 200 X\r\nA: " + b"x" * 70_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 X\r\nA: \xff\xfe\x00\r\n b\r\n\r\n\xff",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 X\r\nRetry-After: 1e999\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 X\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 X\r\nLocation: http://[::1\x00\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 101 X\r\n\r\n", b"\x16\x03\x01\x00\x02",
        b"HTTP/1.1 200 X\r\nContent-Length: 40000\r\n\r\n" + b"[" * 40_000,
        b"HTTP/1.1 429 X\r\nContent-Length: 40000\r\n\r\n" + b"[" * 40_000,
    ]
)  # fmt: skip
raw_frames = st.sampled_from(
    [
        b"\x82\x00", b"\x81\x03\xff\xfe\xfd", b"\x81\xff", b"\x88\x02\x00\x00", b"\x88\x01x", b"\x88\x04\x11\x94no",
        b"\x88\x02\x0f\xa0", b"\x89\x7e\xff\xff", b"\xff\x00", b"\x81\x7f" + b"\xff" * 8, b"\x01\x01{" * 3, b"\x80\x00",
        b"\x81\x80\x00\x00\x00\x00", event_frame(b"["), event_frame(b"[" * 40_000), event_frame(b'{"type":7}'),
        event_frame(b'{"type":"new"}'), event_frame(b"1" * 5_000), event_frame(b'{"type":"pong","ref":1e999}'),
    ]
)  # fmt: skip
scripts = st.lists(st.sampled_from(EVENTS).flatmap(altered).map(event_frame) | raw_frames, max_size=4)


async def outcome(call: Awaitable[Any]) -> None:
    """Await a call for a short time; raise any error but a `ChatkitError`."""
    with suppress(ChatkitError, TimeoutError):
        async with asyncio.timeout(0.3):
            await call


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, PATIENCE_S))


async def follow(client: Client) -> None:
    async with aclosing(client.follow("ops", signals=True)) as items:
        async for _ in items:
            pass


async def scroll(client: Client) -> None:
    async for _ in client.scroll("ops"):
        pass


class SlowServer(RawServer):
    """Sends a byte now and then behind its answer, without an end."""

    async def serve_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await super().serve_request(reader, writer)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)


hostile = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@hostile
@given(page=altered(PAGE), rooms=altered({"rooms": [ROOM]}), members=altered(MEMBERS), room=altered(ROOM))
def test_documents_that_a_server_alters_raise_only_errors_of_chatkit(
    page: Any, rooms: Any, members: Any, room: Any
) -> None:
    documents = {"/rooms/ops/messages": page, "/rooms": rooms, "/rooms/ops/members": members, "/rooms/ops": room}

    async def test() -> None:
        server = RawServer(lambda head: answer(200, documents[head.split()[1].split("?")[0]]))
        async with server.running(), Client(server.url) as client:
            for call in (client.history("ops"), scroll(client), client.rooms(), client.members("ops")):
                await outcome(call)
            await outcome(client.room("ops"))

    run(test())


@hostile
@given(reply=raw_answers | altered(PROBLEM).map(lambda problem: answer(429, problem)))
def test_answers_that_a_server_breaks_raise_only_errors_of_chatkit(reply: bytes) -> None:
    async def test() -> None:
        async with RawServer(lambda _: reply).running() as server, Client(server.url, give_up_after_s=0) as client:
            await outcome(client.rooms())
            await outcome(client.redact("ops", 1))
            await outcome(client.publish("ops", "hi"))

    run(test())


@hostile
@given(welcome=altered(WELCOME), joined=altered(JOINED), script=scripts)
def test_events_that_a_server_alters_raise_only_errors_of_chatkit(
    welcome: Any, joined: Any, script: list[bytes]
) -> None:
    replies = [event_frame(joined) + b"".join(script)]

    async def test() -> None:
        async with RawServer(lambda head: handshake(head, welcome), replies, 0.02).running() as server:
            for call in (follow, lambda client: client.publish("ops", "hi")):
                async with Client(server.url, give_up_after_s=0) as client:
                    await outcome(call(client))

    run(test())


@pytest.mark.parametrize("text", ["nonsense", "", "0000-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"])
def test_a_time_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(Unavailable, match="not a time"):
        read_time(text)


@pytest.mark.parametrize(
    ("given", "used"), [(-1, MIN_RETRY_AFTER_S), (0, MIN_RETRY_AFTER_S), (7, 7), (1e308, MAX_RETRY_AFTER_S), (None, 1)]
)
def test_a_wait_is_clamped(given: float | None, used: float) -> None:
    body = json.dumps({"code": "rate-limited", "retry_after_s": given}).encode()
    refusal = refusal_of_response(429, body)
    event = read_event(json.dumps({"type": "error", "code": "x", "message": "", "retry_after_s": given}).encode())
    assert isinstance(refusal, RateLimited)
    assert refusal.retry_after_s == used
    assert isinstance(event, ErrorEvent)
    assert event.retry_after_s == (None if given is None else used)


@pytest.mark.parametrize(
    "limits", [WireLimits(-1, -1, -1, -1, -1, -1, -1), WireLimits(1, 1, 1, 1, 1e-300, 1e300, 1e-300)]
)
def test_limits_of_a_welcome_never_stop_a_client(limits: WireLimits) -> None:
    rate_limit = RateLimit(clamp_limits(limits), 0.0)
    for _ in range(10):
        rate_limit.spend(100, 0.0)
    assert 0 <= rate_limit.wait_s(100, 0.0) <= 10 / 0.009


def test_a_server_that_sends_a_page_again_is_refused() -> None:
    async def test() -> None:
        page = answer(200, {**PAGE, "complete": False})
        async with RawServer(lambda _: page).running() as server, Client(server.url) as client:
            with pytest.raises(Unavailable, match="which was not asked for"):
                await scroll(client)
            assert len(server.heads) == 2

    run(test())


def test_a_server_whose_search_gets_no_further_is_refused() -> None:
    async def test() -> None:
        page = answer(200, {**PAGE, "messages": [], "complete": False, "reached": 1})
        async with RawServer(lambda _: page).running() as server, Client(server.url) as client:
            assert (await client.history("ops", search="x")).reached == 1
            with pytest.raises(Unavailable, match="a search that continues from 1"):
                await client.history("ops", search="x", before=1)
            with pytest.raises(Unavailable, match="a search that continues from 1"):
                await scroll(client)
            assert len(server.heads) == 4

    run(test())


def test_a_server_that_lists_rooms_again_is_refused() -> None:
    async def test() -> None:
        page = answer(200, {"rooms": [ROOM], "complete": False})
        async with RawServer(lambda _: page).running() as server, Client(server.url) as client:
            with pytest.raises(Unavailable, match="rooms that were listed before"):
                await client.rooms()
            assert len(server.heads) == 2

    run(test())


def test_a_server_whose_log_is_always_another_is_refused() -> None:
    async def test() -> None:
        epochs = iter(range(1_000))

        def respond(_: str) -> bytes:
            return answer(200, {**PAGE, "cursor": f"e{next(epochs)}:1", "complete": False})

        async with RawServer(respond).running() as server, Client(server.url) as client:
            with pytest.raises(Unavailable, match="created again and again"):
                await scroll(client)

    run(test())


def test_a_message_that_was_delivered_is_not_delivered_again() -> None:
    events = [{"type": "message", **MESSAGE, "seq": seq} for seq in (1, 2, 2, 1, 3)]
    replies = [b"".join(map(event_frame, [JOINED, {"type": "message", **MESSAGE, "room": "other"}, *events]))]

    async def test() -> None:
        async with RawServer(lambda head: handshake(head, WELCOME), replies, 1).running() as server:
            async with Client(server.url) as client, aclosing(client.follow("ops")) as items:
                messages = [await anext(items) for _ in range(3)]
            assert [item.seq for item in messages if isinstance(item, Message)] == [1, 2, 3]

    run(test())


def test_a_list_of_a_million_names_is_cut() -> None:
    names = [str(number) for number in range(1_000_000)]
    presence = read_event(json.dumps({"type": "presence", "room": "ops", "joined": names, "count": 10**30}).encode())
    members = [{"name": name, "since": TIME} for name in names[:10_000]]
    joined = read_event(json.dumps({**JOINED, "members": members}).encode())
    assert isinstance(presence, PresenceEvent)
    assert isinstance(joined, JoinedEvent)
    assert len(presence.joined or ()) == len(joined.members) == 200
    assert presence.count == 2**53 - 1


def test_a_frame_over_the_limit_ends_the_client() -> None:
    async def test() -> None:
        head = bytes([0x81, 127]) + (MAX_FRAME_BYTES + 1).to_bytes(8)
        server = RawServer(lambda request: handshake(request, WELCOME), [head], 1)
        async with server.running(), Client(server.url) as client:
            with pytest.raises(ChatkitError, match=f"an event of more than {MAX_FRAME_BYTES} bytes"):
                await follow(client)

    run(test())


def test_invalid_events_again_and_again_end_the_client() -> None:
    async def test() -> None:
        replies = [event_frame({"type": "message"})]
        async with RawServer(lambda head: handshake(head, WELCOME), replies, 1).running() as server:
            async with Client(server.url) as client:
                with pytest.raises(Unavailable, match="no chatkit server of this version"):
                    await follow(client)
            assert len(server.heads) == 3

    run(test())


def test_an_answer_over_the_limit_is_refused() -> None:
    async def test() -> None:
        endless = b"HTTP/1.1 200 X\r\n\r\n" + b" " * (MAX_ANSWER_BYTES + 1_000)
        async with RawServer(lambda _: endless).running() as server, Client(server.url) as client:
            with pytest.raises(Unavailable, match=f"an answer of more than {MAX_ANSWER_BYTES} bytes"):
                await client.rooms()

    run(test())


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 X\r\nA: ", b"HTTP/1.1 200 X\r\nContent-Length: 999\r\n\r\n"])
def test_an_answer_that_arrives_byte_by_byte_ends_at_the_deadline(start: bytes) -> None:
    async def test() -> None:
        async with SlowServer(lambda _: start).running() as server:
            client = HttpClient(Endpoint.parse(server.url), timeout_s=0.5)
            began = time.monotonic()
            with pytest.raises(Unavailable, match="timed out"):
                await asyncio.to_thread(client.rooms)
            assert time.monotonic() - began < PATIENCE_S / 2

    run(test())


def test_a_server_that_sends_no_welcome_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(head: str) -> bytes:
        monkeypatch.setattr("chatkit.client.websocket.OPEN_TIMEOUT_S", 0.1)  # only now: it is also that of a handshake
        return handshake(head)

    async def test() -> None:
        async with RawServer(respond, lasts_s=60).running() as server, Client(server.url) as client:
            with pytest.raises(Unavailable, match="it sends no welcome"):
                await client.publish("ops", "hi")

    run(test())


@pytest.mark.parametrize("call", [follow, lambda client: client.publish("ops", "hi")], ids=["join", "publish"])
def test_a_server_that_answers_no_command_is_given_up(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.client.answer_deadline.ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr("chatkit.client.websocket.CLOSE_TIMEOUT_S", 0.1)

    async def test() -> None:
        notices: list[Any] = []
        async with RawServer(lambda head: handshake(head, WELCOME), lasts_s=60).running() as server:
            async with Client(server.url, watcher=notices.append) as client:
                with pytest.raises(Unavailable, match="the server answers no commands"):
                    await call(client)
            assert len(server.heads) == 3
        assert "answers no commands" in notices[0].reason

    run(test())


def test_a_deadline_starts_again_with_each_answer() -> None:
    deadline = AnswerDeadline()
    assert deadline.remaining_s(0.0) is None
    deadline.sent(1, 10.0)
    deadline.sent(2, 11.0)
    assert deadline.remaining_s(12.0) == ANSWER_TIMEOUT_S - 2.0
    assert deadline.answered(1, 13.0)
    assert not deadline.answered(1, 14.0)
    assert deadline.remaining_s(14.0) == ANSWER_TIMEOUT_S - 1.0
    assert deadline.remaining_s(1_000.0) == 0.0
    deadline.forget(2)
    assert deadline.remaining_s(1_000.0) is None
