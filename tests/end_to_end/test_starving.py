"""Readers that do not read, and a full disk: neither costs memory or an acknowledged message."""

import asyncio
import ctypes
import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from raw_client import Talk, call, eventually, handshake, is_idle, publish, raw, read_head, run, whole_room
from serving import ServerProcess, serve

UNLIMITED = ("--rate-limit", "0")
RECEIVE_BYTES = 1 << 16  # of a stalled reader that reads again


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve(tmp_path / "rooms.db", *UNLIMITED) as started:
        yield started


# A reader that stops reading


def rss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def test_a_reader_that_stops_uses_no_memory_and_gets_everything_later(server: ServerProcess) -> None:
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
                assert grown < 12_000, f"{grown} KiB"

        run(test(), within_s=90)
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        got = bytearray(early)
        expected = 0
        while expected < n_messages:
            while len(got) < 10:
                got += stalled.recv(RECEIVE_BYTES)
            if got[:2] == b"\x89\x00":  # a ping, if this took long
                del got[:2]
                continue
            assert got[:2] == b"\x81\x7f" or got[:2] == b"\x81\x7e"
            header = 10 if got[1] == 127 else 4
            length = int.from_bytes(got[2:header])
            while len(got) < header + length:
                got += stalled.recv(RECEIVE_BYTES)
            assert bytes(got[header : header + 6]) == b"%06d" % expected
            del got[: header + length]
            expected += 1
    eventually(lambda: is_idle(server))


def test_a_stream_whose_reader_stops_uses_no_memory_and_gets_everything_later(server: ServerProcess) -> None:
    n_messages, size = 500, 60_000  # 30 MB
    with raw(server, receive_buffer=4_096) as stalled:
        stalled.sendall(b"GET /rooms/big/events?history=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = bytearray(read_head(stalled)[1])

        async def test() -> None:
            async with Talk.open(server, "/ws") as talk:
                for number in range(n_messages):
                    if number == 100:
                        before = rss_kib(server.pid)
                    answer = await talk.ask(op="publish", room="big", body=f"{number:06}" + "x" * size)
                    assert answer["type"] == "ack"
                grown = rss_kib(server.pid) - before
                assert grown < 12_000, f"{grown} KiB"

        run(test(), within_s=90)
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        for number in range(n_messages):
            sought = b'"body":"%06d' % number
            while (found := got.find(sought)) < 0:
                assert got.count(b'"body":"') <= 1, "out of order"
                del got[: max(0, len(got) - 60_300)]
                got += stalled.recv(60_000)
            del got[: found + len(sought)]
    eventually(lambda: is_idle(server))


def test_a_client_that_requests_without_reading_uses_no_memory(server: ServerProcess) -> None:
    for number in range(50):
        assert publish(server, "asked", f"{number}" + "x" * 60_000).status == 201
    ask = json.dumps({"op": "history", "room": "asked", "limit": 50}).encode()
    frame = b"\x81" + bytes([0x80 | len(ask)]) + bytes(4) + ask  # a mask of zeros leaves the text as it is
    call(server, "GET", "/rooms/asked/messages?limit=50")
    before = rss_kib(server.pid)
    with raw(server, receive_buffer=4_096) as greedy:
        greedy.sendall(handshake("/ws", "Sec-WebSocket-Protocol: chatkit.v1"))
        read_head(greedy)
        greedy.sendall(frame * 400)  # 1.2 GB of answers
        for _ in range(100):
            assert publish(server, "asked", "others go on").status == 201
        assert rss_kib(server.pid) - before < 20_000
    eventually(lambda: is_idle(server))


def test_a_client_that_publishes_without_reading_uses_no_memory(server: ServerProcess) -> None:
    command = json.dumps({"op": "publish", "room": "acks", "body": "x", "ref": "r" * 60}).encode()
    frame = (
        b"\x81" + bytes([0x80 | 126]) + len(command).to_bytes(2) + bytes(4) + command
        if len(command) > 125
        else (b"\x81" + bytes([0x80 | len(command)]) + bytes(4) + command)
    )
    before = rss_kib(server.pid)
    with raw(server, receive_buffer=4_096) as greedy:
        greedy.sendall(handshake("/ws", "Sec-WebSocket-Protocol: chatkit.v1"))
        read_head(greedy)
        greedy.settimeout(1.0)
        with suppress(TimeoutError):  # the server reads no more from who does not read
            for _ in range(300):
                greedy.sendall(frame * 500)
        assert publish(server, "acks", "others go on").status == 201
        assert rss_kib(server.pid) - before < 20_000
    eventually(lambda: is_idle(server))


# A full disk


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """Mount a file system of this size. Raise `PermissionError` where mounting is not allowed."""
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


def test_a_full_disk_rejects_publishes_loses_nothing_and_recovers_with_space(tmp_path: Path) -> None:
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
            refused = await asyncio.to_thread(call, server, "POST", "/rooms/disk/messages", "y" * 20_000)
            assert refused.problem == (503, "unavailable")
            sick = await asyncio.to_thread(call, server, "GET", "/health")
            assert (sick.status, sick.json["status"]) == (503, "unavailable")
            assert sick.json["detail"]
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
