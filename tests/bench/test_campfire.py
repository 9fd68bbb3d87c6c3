"""`chatkit bench --like campfire`: its audit on servers with faults, its measurement of a restart, and the command."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

import pytest
from bench_process import Bench, processes_in
from cli_runner import CommandRunner
from serving import serve
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.typing import Subprotocol

from chatkit.bench import Campfire, CampfirePlan, CampfireReport
from chatkit.bench.campfire.audit import Acknowledgement, AuditFaults, audit
from chatkit.bench.campfire.post_connection import PostConnection
from chatkit.bench.campfire.readers import RoomReaders
from chatkit.bench.load.websocket_client import ServerAddress
from chatkit.client.endpoint import Endpoint
from chatkit.errors import ChatkitError, Unavailable
from chatkit.pytest_plugin.accepting import accepting
from chatkit.wire.protocol import SUBPROTOCOL

TIME = "2026-11-20T13:56:51.426Z"
WITHIN_S = 20.0
Log = list[tuple[int, str]]

# The audit


def acknowledged(*bodies: str) -> list[Acknowledgement]:
    return [Acknowledgement(seq, body, body) for seq, body in enumerate(bodies, 1)]


@pytest.mark.parametrize(
    ("history", "faults"),
    [
        ([(1, "a"), (2, "b"), (3, "c")], AuditFaults()),
        ([(3, "c"), (1, "a"), (2, "b")], AuditFaults()),
        ([(1, "a"), (3, "c")], AuditFaults(lost=1)),
        ([], AuditFaults(lost=3)),
        ([(1, "a"), (2, "B"), (3, "c")], AuditFaults(changed=1)),
        ([(1, "b"), (2, "a"), (3, "c")], AuditFaults(changed=2)),
        ([(1, "a"), (2, "b"), (2, "b"), (3, "c")], AuditFaults(stored_twice=1)),
        ([(1, "a"), (2, "b"), (3, "c"), (4, "b")], AuditFaults(stored_twice=1)),
        ([(1, "a"), (2, "b"), (3, "c"), (4, "d")], AuditFaults(unacknowledged=1)),
        ([(1, "a"), (3, "c"), (4, "b")], AuditFaults(lost=1)),  # acknowledged with another number
    ],
)
def test_the_history_is_compared_with_every_acknowledgement(history: Log, faults: AuditFaults) -> None:
    assert audit(acknowledged("a", "b", "c"), history) == faults
    assert bool(faults) == (faults != AuditFaults())


def test_an_answer_with_another_body_is_a_fault() -> None:
    assert audit([Acknowledgement(1, "A", "a")], [(1, "a")]) == AuditFaults(changed=1)


def test_two_posts_that_are_answered_with_one_number_are_a_fault() -> None:
    assert audit([Acknowledgement(1, "a", "a"), Acknowledgement(1, "b", "b")], [(1, "a")]) == AuditFaults(changed=1)


# Servers with faults


class FaultyServer:
    """The HTTP half of a chat. `store` stores the fifth post in the log, and returns the number and body to answer."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._n_posts = 0
        self._log: Log = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
                length = next((int(each[15:]) for each in fields if each.startswith("Content-Length:")), 0)
                answer = self._answer(urlsplit(line.split()[1]), await reader.readexactly(length))
                status = b"200 OK" if answer else b"404 Not Found"  # no WebSocket: only the first load can end
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, url: SplitResult, body: bytes) -> bytes:
        if body:
            self._n_posts += 1
            store = self._store if self._n_posts == 5 else keep
            seq, text = store(self._log, self._n_posts, json.loads(body)["body"])
            return json.dumps({"seq": seq, "body": text}).encode()
        if not url.path.endswith("/messages"):
            return b""
        return self._page(url.path.split("/")[2], dict(parse_qsl(url.query)))

    def _page(self, room: str, query: dict[str, str]) -> bytes:
        after, limit = int(query["after"].rpartition(":")[2]), int(query["limit"])
        behind = sorted((seq, body) for seq, body in self._log if seq > after)
        messages = [
            {"room": room, "seq": seq, "time": TIME, "sender": "a", "body": body} for seq, body in behind[:limit]
        ]
        last = max(seq for seq, _ in self._log)
        head = {"cursor": f"e:{last}", "first": 1, "last": last, "complete": len(behind) <= limit}
        return json.dumps({"messages": messages, **head}).encode()


Store = Callable[[Log, int, str], tuple[int, str]]


def keep(log: Log, seq: int, body: str) -> tuple[int, str]:
    log.append((seq, body))
    return seq, body


def lose(_log: Log, seq: int, body: str) -> tuple[int, str]:
    return seq, body


def store_another_body(log: Log, seq: int, body: str) -> tuple[int, str]:
    log.append((seq, body[:-1]))
    return seq, body


def answer_another_body(log: Log, seq: int, body: str) -> tuple[int, str]:
    log.append((seq, body))
    return seq, body[:-1]


def store_twice(log: Log, seq: int, body: str) -> tuple[int, str]:
    log.extend([(seq, body), (seq + 1_000_000, body)])
    return seq, body


def store_an_unasked_message(log: Log, seq: int, body: str) -> tuple[int, str]:
    log.extend([(seq, body), (seq + 1_000_000, "unasked")])
    return seq, body


def run_on(store: Store, **sizes: Any) -> tuple[CampfireReport, ChatkitError | None]:
    async def run() -> tuple[CampfireReport, ChatkitError | None]:
        async with accepting(FaultyServer(store).serve) as port:
            endpoint = Endpoint.parse(f"http://127.0.0.1:{port}")
            campfire = Campfire(CampfirePlan(seconds=0.1, **sizes), endpoint, lambda *_: None)
            return await campfire.run(), campfire.error

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("store", "faults"),
    [
        (keep, AuditFaults()),
        (lose, AuditFaults(lost=1)),
        (store_another_body, AuditFaults(changed=1)),
        (answer_another_body, AuditFaults(changed=1)),
        (store_twice, AuditFaults(stored_twice=1)),
        (store_an_unasked_message, AuditFaults(unacknowledged=1)),
    ],
)
def test_a_server_that_stores_one_message_incorrectly_is_found(store: Store, faults: AuditFaults) -> None:
    report, error = run_on(store)
    (result,) = report.results
    assert result.acknowledged > 5
    assert AuditFaults(result.lost, result.changed, result.stored_twice, result.unacknowledged) == faults
    assert report.is_flawless == (not faults)
    assert not report.complete  # because of the loads with readers
    assert error is not None


def refuse(_log: Log, _seq: int, _body: str) -> tuple[int, str]:
    raise ConnectionResetError


def test_a_lost_connection_ends_a_load_that_measures_posts() -> None:
    with pytest.raises(Unavailable, match="no server answers at http"):
        run_on(refuse)


# Posts over a kept connection


def post_to(*answers: bytes) -> list[bytes]:
    """Post to a server that sends one of these answers to each request, byte by byte; return the bodies read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            assert (await reader.readuntil(b"{}")).startswith(b"POST /chat/rooms/r/messages?name=ann HTTP/1.1\r\n")
            for number in answer:
                writer.write(bytes([number]))
                await writer.drain()
        writer.close()

    async def post() -> list[bytes]:
        async with accepting(serve) as port, asyncio.timeout(WITHIN_S):
            address = ServerAddress.of(Endpoint.parse(f"http://127.0.0.1:{port}/chat"))
            connection = PostConnection(address, "/rooms/r/messages", name="ann")
            try:
                return [await connection.post(b"{}") for _ in answers]
            finally:
                connection.close()

    return asyncio.run(post())


def test_answers_in_any_pieces_are_read() -> None:
    first = b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\none"
    second = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length:5\r\nDate: y\r\n\r\nother"
    assert post_to(first, second, first) == [b"one", b"other", b"one"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 1\r\n\r\nx", "the server answered 500"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "not one of HTTP/1.1 with a Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", "not one of HTTP/1.1 with a Content-Length"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not one of HTTP/1.1 with a Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "the connection was lost"),
        (b"", "the connection was lost"),
    ],
)
def test_any_other_answer_is_an_error(answer: bytes, why: str) -> None:
    with pytest.raises(ChatkitError, match=why):
        post_to(answer)


# The restart


class Restarting:
    """A server whose room has three messages. It cuts each reader off, and is slow to deliver to it afterwards."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()  # before the last message is delivered
        self.has_delivered = asyncio.Event()  # all messages but the last
        self._n_connections = 0

    async def serve(self, socket: ServerConnection) -> None:
        self._n_connections += 1
        if self._n_connections == 1:
            await socket.send(self._joined(0, last=1))
            await socket.send(self._message(1))
            return
        await socket.send(self._joined(1, last=3))
        await socket.send(self._message(2))
        self.has_delivered.set()
        await self.go_on.wait()
        await socket.send(self._message(3))
        await socket.wait_closed()

    def _joined(self, seq: int, last: int) -> str:
        head = {"type": "joined", "room": "r", "cursor": f"e:{seq}", "seq": seq, "first": 1, "last": last}
        return json.dumps({**head, "members": [], "count": 1})

    def _message(self, seq: int) -> str:
        message = {"type": "message", "room": "r", "seq": seq, "time": TIME, "sender": "a", "body": "hi"}
        return json.dumps(message, separators=(",", ":"))


def test_a_blackout_ends_when_all_that_was_missed_has_been_received() -> None:
    async def follow() -> None:
        server = Restarting()
        protocols = [Subprotocol(SUBPROTOCOL)]
        async with serve_websockets(server.serve, "127.0.0.1", 0, subprotocols=protocols, compression=None) as serving:
            port = next(iter(serving.sockets)).getsockname()[1]
            readers = RoomReaders(1, "r", ServerAddress.of(Endpoint.parse(f"http://127.0.0.1:{port}")))
            async with readers.connected(lambda *_: None), asyncio.timeout(WITHIN_S):
                await server.has_delivered.wait()
                await readers.wait_for(2, lambda *_: None)
                assert readers.n_returned == 0
                server.go_on.set()
                await readers.wait_for(3, lambda *_: None)
                assert readers.n_returned == 1
                assert readers.blackouts.percentiles_ms(1) == [readers.blackouts.longest_ns / 1e6]
                assert not readers.faults(3)

    asyncio.run(follow())


# The command


def test_all_loads_are_run_on_a_server_that_is_restarted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    report = bench.json("--like", "campfire", "--subs", "5", "--seconds", "0.1")
    assert bench.stderr == ""
    assert report["complete"]
    assert [(each["load"], each["posters"], each["subs"]) for each in report["results"]] == [
        ("posts", 16, 0),
        ("room", 4, 5),
        ("room", 64, 5),
        ("restart", 4, 5),
    ]
    for result in report["results"]:
        assert result["delivered"] == result["acknowledged"] * result["subs"]
        assert result["acknowledged"] > 0
        assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]
        faults = ("lost", "changed", "stored_twice", "unacknowledged", "missing", "repeated", "out_of_order")
        assert [result[name] for name in faults] == [0] * 7
    assert report["results"][-1]["down_s"] > 0
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_a_given_server_is_not_restarted(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", "--rate-limit", "0") as server:
        printed = Bench(tmp_path).run("--like", "campfire", "--subs", "5", "--seconds", "0.1", "--server", server.url)
    lines = printed.splitlines()
    assert lines[0].endswith(f" messages of 100 bytes, each compared with the history, on {server.url}")
    assert [line.partition(":")[0] for line in lines[3:6]] == [
        "16 clients post",
        "4 clients post to 5 readers",
        "64 clients post to 5 readers",
    ]
    assert lines[6:8] == ["", "lost            0  acknowledged, but not in the history"]


def test_a_server_that_limits_the_rate_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with serve(tmp_path / "rooms.db", "--rate-limit", "1") as server:
        assert bench.run("--like", "campfire", "--server", server.url, status=2) == ""
    assert (
        "the server limits the rate of messages, which would be measured: start it with --rate-limit 0" in bench.stderr
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--like", "slack"), "--like must be campfire, not 'slack'"),
        (("--like", "campfire", "--messages", "9"), "--messages does not go with --like"),
        (("--like", "campfire", "--servers", "9"), "--servers goes with --chaos only"),
        (("--like", "campfire", "--chaos"), "--like does not go with --chaos"),
        (("--like", "campfire", "--seconds", "61"), "--seconds is 0.1 to 60"),
        (("--like", "campfire", "--size", "39"), "--size is 40 to 65536"),
        (("--like", "campfire", "--subs", "0"), "--subs is 1 to 20000"),
        (("--seconds", "1"), "--seconds goes with --like only"),
    ],
)
def test_options_that_cannot_be_used_are_named(
    words: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = CommandRunner(tmp_path, monkeypatch)
    command.run("bench", *words, status=2)
    assert why in command.stderr


def test_the_help_has_an_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "chatkit bench --like campfire" in CommandRunner(tmp_path, monkeypatch).run("bench", "--help")
