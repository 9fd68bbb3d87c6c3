"""What goes wrong in the field, done to real servers: killed, stopped, starved of disk, spoken to in garbage."""

import asyncio
import ctypes
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rawsocket import Talk, call, eventually, handshake, health, open_socket, publish, raw, read_all, read_head, run
from serving import ServerProcess, clean_environment, serve
from websockets.exceptions import ConnectionClosed

from chatkit.backends import open_backend
from chatkit.core.model import Draft

UNLIMITED = ("--rate-limit", "0")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve(tmp_path / "rooms.db", *UNLIMITED) as started:
        yield started


def whole_room(server: ServerProcess, room: str) -> list[dict[str, Any]]:
    """Read a room from its beginning to its end."""
    messages: list[dict[str, Any]] = []
    while page := call(server, "GET", f"/rooms/{room}/messages?limit=1000&after={len(messages)}").json["messages"]:
        messages += page
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
    return messages


def idle(server: ServerProcess) -> bool:
    counts = health(server)
    return [counts[name] for name in ("connections", "rooms", "subscriptions")] == [0, 0, 0]


# Killed

KILLS = 30
PUBLISHERS = 4


class Publisher:
    """Publishes with keys, and again whatever was not acknowledged, through whatever happens to the server."""

    def __init__(self, server: ServerProcess, name: str) -> None:
        self.acknowledged: dict[str, int] = {}
        self._server = server
        self._name = name
        self._n_begun = 0
        self._open: dict[str, str] = {}  # keys not acknowledged yet, and their bodies

    async def go_on(self, until: asyncio.Event) -> None:
        """Publish until told to stop, and then until all is acknowledged."""
        while not until.is_set() or self._open:
            with suppress(OSError, ConnectionClosed, EOFError, Exception):
                async with Talk.open(self._server, "/ws") as talk:
                    await self._talk(talk, until)
            await asyncio.sleep(0.01)

    async def _talk(self, talk: Talk, until: asyncio.Event) -> None:
        for key, body in list(self._open.items()):
            await self._publish(talk, key, body)
        while self._open or not until.is_set():
            while len(self._open) < 8 and not until.is_set():
                self._n_begun += 1
                key = f"{self._name}-{self._n_begun}"
                self._open[key] = f"body of {key}"
                await self._publish(talk, key, self._open[key])
            ack = await talk.until("ack")
            self.acknowledged[ack["ref"]] = ack["seq"]
            self._open.pop(ack["ref"], None)

    async def _publish(self, talk: Talk, key: str, body: str) -> None:
        await talk.say(op="publish", room="kill", body=body, key=key, ref=key)


def test_thirty_kills_lose_nothing_acknowledged_and_store_nothing_twice(server: ServerProcess) -> None:
    chance = random.Random(7)

    async def test() -> list[Publisher]:
        until = asyncio.Event()
        publishers = [Publisher(server, f"p{number}") for number in range(PUBLISHERS)]
        tasks = [asyncio.create_task(publisher.go_on(until)) for publisher in publishers]
        for _ in range(KILLS):
            count = sum(len(publisher.acknowledged) for publisher in publishers)
            while sum(len(publisher.acknowledged) for publisher in publishers) < count + 20:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await asyncio.sleep(chance.random() * 0.05)
            server.kill9()
            await asyncio.to_thread(server.start)
        until.set()
        await asyncio.gather(*tasks)
        return publishers

    publishers = run(test(), within_s=150)
    stored = {message["seq"]: message["key"] for message in whole_room(server, "kill")}
    acknowledged = {key: seq for publisher in publishers for key, seq in publisher.acknowledged.items()}
    assert len(acknowledged) >= 20 * KILLS
    assert {key: stored[seq] for key, seq in acknowledged.items()} == {key: key for key in acknowledged}
    assert [key for key, count in Counter(stored.values()).items() if count > 1] == []
    assert set(stored.values()) == set(acknowledged)  # each was tried until it was acknowledged
    assert "Traceback" not in server.log


def test_readers_of_a_killed_server_go_on_where_they_were(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/again?history=0") as talk:
            epoch = (await talk.until("joined"))["cursor"].partition(":")[0]
            for number in range(1, 6):
                await talk.say(op="publish", body=f"m{number}")
            seq = [(await talk.until("message"))["seq"] for _ in range(5)][-1]
            server.kill9()
            with pytest.raises(ConnectionClosed):
                await talk.hear()
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(publish, server, "again", "m6")
        async with Talk.open(server, f"/ws/again?after={epoch}:{seq}") as talk:
            assert await talk.bodies(1) == ["m6"]

    run(test())


# Another process on the same store


def test_what_another_process_writes_is_heard_here(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/shared?history=0") as talk, open_backend(server.store) as backend:
            await talk.until("joined")
            for number in range(5):
                await backend.append([Draft("shared", "cron", f"m{number}")])
                assert (await talk.until("message"))["body"] == f"m{number}"
            await talk.say(op="publish", body="from here")
            assert (await talk.until("message"))["seq"] == 6
            await backend.redact("shared", 1)
            assert (await talk.until("redacted"))["seq"] == 1

    run(test())


def test_the_publish_command_goes_to_the_store_and_clients_hear_it(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chatkit.cli", "publish", "cron", "--backend", server.store, "--name", "job"]

    async def test() -> None:
        async with Talk.open(server, "/ws/cron?history=0") as talk:
            await talk.until("joined")
            ended = await asyncio.to_thread(
                subprocess.run, [*command, "backup done"], env=clean_environment({}), capture_output=True, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr
            message = await talk.until("message")
            assert (message["sender"], message["body"]) == ("job", "backup done")

    run(test())


# A reader that stops reading


def rss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def test_a_reader_that_stops_reading_costs_no_memory_and_gets_everything_later(server: ServerProcess) -> None:
    n_messages, size = 800, 64_000  # 50 MB
    with raw(server, receive_buffer=4_096) as stalled:
        stalled.sendall(handshake("/ws/big?history=0"))
        head, early = read_head(stalled)
        assert b" 101 " in head

        async def test() -> None:
            async with Talk.open(server, "/ws/big?history=0") as reader, Talk.open(server, "/ws") as talk:
                await reader.until("joined")

                async def publish_all() -> None:
                    for number in range(n_messages):
                        answer = await talk.ask(op="publish", room="big", body=f"{number:06}" + "x" * size)
                        assert answer["type"] == "ack"

                publishing = asyncio.create_task(publish_all())
                assert [body[:6] for body in await reader.bodies(100)] == [f"{number:06}" for number in range(100)]
                before = rss_kib(server.pid)
                assert [body[:6] for body in await reader.bodies(n_messages - 100)] == [
                    f"{number:06}" for number in range(100, n_messages)
                ]
                await publishing
                grown = rss_kib(server.pid) - before
                # The room's tail and SQLite's cache are in this; what the stalled one was not sent would be 45 MB.
                assert grown < 24_000, f"{grown} KiB"

        run(test(), within_s=90)
        got = bytearray(early)
        expected = 0
        while expected < n_messages:
            while len(got) < 10:
                got += stalled.recv(1 << 20)
            assert got[:2] == b"\x81\x7f" or got[:2] == b"\x81\x7e"
            header = 10 if got[1] == 127 else 4
            length = int.from_bytes(got[2:header])
            while len(got) < header + length:
                got += stalled.recv(1 << 20)
            assert bytes(got[header : header + 6]) == b"%06d" % expected
            del got[: header + length]
            expected += 1
    eventually(lambda: idle(server))


# Paused, half open, garbage


def test_a_paused_server_goes_on_as_if_nothing_had_been(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/pause?history=0") as talk:
            await talk.until("joined")
            server.signal(signal.SIGSTOP)
            for number in range(50):
                await talk.say(op="publish", body=f"m{number}", ref=number)
            connecting = asyncio.create_task(_first_body(server))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await talk.socket.recv()
            server.signal(signal.SIGCONT)
            heard: list[dict[str, Any]] = [await talk.hear() for _ in range(100)]
            assert [event["ref"] for event in heard if event["type"] == "ack"] == list(range(50))
            bodies = [event["body"] for event in heard if event["type"] == "message"]
            assert bodies == [f"m{number}" for number in range(50)]
            await talk.say(op="publish", body="after")
            assert await connecting

    run(test())


async def _first_body(server: ServerProcess) -> str:
    async with open_socket(server, "/ws/pause?history=1") as opened:
        return str(await opened.recv())


def test_garbage_and_half_open_connections_disturb_nobody(server: ServerProcess) -> None:
    chance = random.Random(11)
    garbage = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(200),  # TLS
        b"\x00" * 5_000,
        chance.randbytes(5_000),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /ws HTTP/1.1\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        handshake("/ws").replace(b"Version: 13", b"Version: 8"),
        handshake("/ws").replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
        handshake("/nothing"),
        handshake("/rooms"),
        b"GET /" + b"a" * 100_000,
        b"POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    ]

    async def test() -> None:
        async with Talk.open(server, "/ws/calm?history=0") as talk:
            await talk.until("joined")
            await asyncio.to_thread(disturb)
            for number in range(10):
                await talk.say(op="publish", body=str(number))
            assert await talk.bodies(10) == [str(number) for number in range(10)]

    def disturb() -> None:
        with ExitStack() as stack:
            for number in range(50):  # open, and not another word: some with half a handshake, some gone by a reset
                opened = stack.enter_context(raw(server))
                opened.sendall(handshake("/ws/half")[: number * 3])
                if number % 3 == 0:
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    opened.close()
            for bytes_ in garbage:
                with raw(server) as opened, suppress(ConnectionError):
                    opened.sendall(bytes_)
                    opened.shutdown(socket.SHUT_WR)
                    answer = read_all(opened)
                    assert b" 101 " not in answer.partition(b"\r\n")[0], bytes_[:80]
                    assert b" 500 " not in answer.partition(b"\r\n")[0], bytes_[:80]
            for _ in range(20):  # a whole handshake, then frames of nonsense
                with raw(server) as opened, suppress(ConnectionError):
                    opened.sendall(handshake("/ws/half") + chance.randbytes(500))
                    opened.shutdown(socket.SHUT_WR)
                    read_all(opened)

    run(test())
    eventually(lambda: idle(server))
    assert "Traceback" not in server.log


def test_sockets_cut_without_a_close_leave_nothing_behind(server: ServerProcess) -> None:
    with ExitStack() as stack:
        for number in range(100):
            opened = stack.enter_context(raw(server))
            opened.sendall(handshake(f"/ws/cut-{number}"))
            head, _ = read_head(opened)
            assert b" 101 " in head
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: health(server)["connections"] == 100)
        for number in range(100):
            publish(server, f"cut-{number}", "under way")
    eventually(lambda: idle(server))
    assert "Traceback" not in server.log


def test_two_thousand_rooms_joined_and_left_leave_nothing_behind(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws") as talk:
            for start in range(0, 2_000, 50):
                rooms = [f"room-{number}" for number in range(start, start + 50)]
                for room in rooms:
                    await talk.say(op="join", room=room, ref=room)
                for room in rooms:
                    await talk.until("joined", room=room)
                for room in rooms:
                    await talk.say(op="leave", room=room, ref=room)
                for room in rooms:
                    await talk.until("left", room=room)

    run(test())
    eventually(lambda: idle(server))
    assert call(server, "GET", "/rooms").json["rooms"] == []


def test_leaving_while_joining_leaves_nothing_behind(server: ServerProcess) -> None:
    async def test() -> None:
        for number in range(60):
            async with Talk.open(server, f"/ws/rush-{number % 7}") as talk:
                for other in range(5):
                    await talk.say(op="join", room=f"rush-{other}")
                talk.socket.transport.abort()

    run(test())
    eventually(lambda: idle(server))
    assert "Traceback" not in server.log


# A full disk


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """Mount a file system of this size; where that is not allowed, there is none, and the caller has to see to it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=%d" % n_bytes):
        raise PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        yield
    finally:
        libc.umount2(bytes(folder), 2)


@contextmanager
def server_short_of_space(tmp_path: Path) -> Iterator[tuple[ServerProcess, Any]]:
    """A server whose store cannot grow beyond a few megabytes, and how to give it more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(folder, 6 << 20))
        except PermissionError:
            # Without the right to mount: no file may grow beyond the limit, which counts for the store's log as well.
            server = stack.enter_context(serve(folder / "rooms.db", *UNLIMITED, folder=tmp_path))
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (3 << 20, resource.RLIM_INFINITY))
            yield server, lambda: resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1 << 30, resource.RLIM_INFINITY))
            return
        ballast = folder / "ballast"
        ballast.write_bytes(b"x" * (3 << 20))
        yield stack.enter_context(serve(folder / "rooms.db", *UNLIMITED, folder=tmp_path)), ballast.unlink


def test_a_full_disk_refuses_and_loses_nothing_and_space_mends_it(tmp_path: Path) -> None:
    async def test(server: ServerProcess, make_space: Any) -> dict[int, str]:
        acknowledged: dict[int, str] = {}
        async with Talk.open(server, "/ws/disk?history=0") as reader, Talk.open(server, "/ws") as talk:
            await reader.until("joined")
            refusal = None
            for number in range(1_000):
                body = f"{number}:" + "x" * 20_000
                answer = await talk.ask(op="publish", room="disk", body=body)
                if answer["type"] == "error":
                    refusal = answer
                    break
                acknowledged[answer["seq"]] = body
            assert refusal is not None, "the disk was not full"
            assert (refusal["code"], "rooms.db" in refusal["message"]) == ("unavailable", True), refusal
            answer = await asyncio.to_thread(call, server, "POST", "/rooms/disk/messages", "y" * 20_000)
            assert answer.problem == (503, "unavailable")
            answer = await asyncio.to_thread(call, server, "GET", "/health")
            assert (answer.status, answer.json["status"]) == (503, "unavailable")
            assert answer.json["detail"]
            # Those who read are still there, and can read.
            assert await reader.bodies(len(acknowledged)) == list(acknowledged.values())
            assert (await reader.ask(op="history", limit=1))["messages"][0]["seq"] == max(acknowledged)
            make_space()
            deadline = time.monotonic() + 20
            while (answer := await talk.ask(op="publish", room="disk", body="space again"))["type"] == "error":
                assert time.monotonic() < deadline, answer
                await asyncio.sleep(0.05)
            acknowledged[answer["seq"]] = "space again"
            assert (await reader.until("message"))["body"] == "space again"
        return acknowledged

    with server_short_of_space(tmp_path) as (server, make_space):
        acknowledged = run(test(server, make_space))
        eventually(lambda: call(server, "GET", "/health").status == 200)
        stored = {message["seq"]: message["body"] for message in whole_room(server, "disk")}
        assert stored.items() >= acknowledged.items()
        server.kill9()
        server.start()
        assert whole_room(server, "disk")[-1]["body"] == "space again"
        assert json.dumps(stored) == json.dumps({m["seq"]: m["body"] for m in whole_room(server, "disk")})
