"""Start and shutdown: the banner, the errors, and that shutdown takes seconds whatever the clients do."""

import asyncio
import json
import os
import pwd
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_client import Talk, call, eventually, handshake, open_socket, publish, raw, read_all, read_head, run, stream
from serving import ServerProcess, clean_environment, serve
from websockets.exceptions import WebSocketException

from chatkit.core.access import Grant, Right
from chatkit.server.app import open_app
from chatkit.server.banner import rooms_banner, startup_banner
from chatkit.server.first_token import make_first_token, make_first_token_of_store
from chatkit.server.settings import Settings

ENDS_WITHIN_S = 15.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve(tmp_path / "rooms.db", "--rate-limit", "0") as started:
        yield started


def serve_and_fail(store: str, folder: Path, *options: str, user: str | None = None) -> tuple[int, str]:
    """Run a `chatkit serve` that cannot start; return its exit status and its output."""
    command = [sys.executable, "-m", "chatkit.cli", "serve", "--port", "0", "--backend", store, *options]
    ended = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        user=user,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stderr


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as opened:
            opened.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in opened.recv(100)
    except OSError:
        return False


def wait_for_end(process: subprocess.Popen[bytes]) -> int:
    return process.wait(ENDS_WITHIN_S)


# Shutdown


def test_sigterm_stops_a_server_without_clients_at_once(server: ServerProcess) -> None:
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_ctrl_c_exits_with_130(server: ServerProcess) -> None:
    process = server._running()
    process.send_signal(signal.SIGINT)
    assert wait_for_end(process) == 130
    assert "Traceback" not in server.log
    server._process = None


def test_sockets_are_closed_with_1012_and_streams_end(server: ServerProcess) -> None:
    async def test() -> None:
        async with (
            Talk.open(server, "/ws/end?name=ann") as idle,
            open_socket(server, "/ws/end") as text,
            open_socket(server, "/ws") as elsewhere,
        ):
            await idle.until("joined")
            server.signal(signal.SIGTERM)
            for opened in (idle.socket, text, elsewhere):
                await asyncio.wait_for(opened.wait_closed(), ENDS_WITHIN_S)
                assert opened.close_code == 1012

    with stream(server, "/rooms/end/events") as lines, stream(server, "/rooms/end/events", "Accept: x/y") as other:
        assert lines.next() == other.next() == "retry: 1000"
        run(test())
        assert [event.get("event") for event in lines.events()] == [
            "ping"
        ]  # the end of a complete answer, not a lost connection
    process = server._running()
    assert wait_for_end(process) == 0
    server._process = None
    assert "Traceback" not in server.log


def test_a_client_that_does_not_read_does_not_delay_the_shutdown(server: ServerProcess) -> None:
    with raw(server, receive_buffer=4_096) as stalled, raw(server, receive_buffer=4_096) as stalled_stream:
        stalled.sendall(handshake("/ws/stall?history=0"))
        read_head(stalled)
        stalled_stream.sendall(b"GET /rooms/stall/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_head(stalled_stream)
        for _ in range(200):
            assert publish(server, "stall", "x" * 60_000).status == 201
        assert server.stop() == 0
    assert "Traceback" not in server.log


def test_incomplete_requests_and_handshakes_do_not_delay_the_shutdown(server: ServerProcess) -> None:
    with raw(server) as half_head, raw(server) as half_body, raw(server) as half_handshake, raw(server) as silent:
        half_head.sendall(b"GET /rooms HTTP/1.1\r\nHost: loc")
        half_body.sendall(b"POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
        half_handshake.sendall(handshake("/ws/a")[:-2])
        assert silent.getpeername()
        assert call(server, "GET", "/health").status == 200
        process = server._running()
        process.terminate()
        assert wait_for_end(process) == 0
        server._process = None
        assert b"HTTP/1.1 2" not in read_all(half_body)
    assert "Traceback" not in server.log


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_second_signal_does_not_interrupt_the_shutdown(server: ServerProcess, number: int, status: int) -> None:
    with raw(server, receive_buffer=4_096) as stalled:
        stalled.sendall(handshake("/ws/stall?history=0"))
        read_head(stalled)
        process = server._running()
        process.send_signal(number)
        process.send_signal(number)
        assert wait_for_end(process) == status
    server._process = None
    assert "Traceback" not in server.log


def test_messages_acknowledged_before_the_shutdown_are_stored(server: ServerProcess) -> None:
    """Publishers continue until the server is gone; every acknowledged message is there afterwards."""

    async def publisher(number: int) -> list[str]:
        acknowledged: list[str] = []
        async with Talk.open(server, f"/ws?name=p{number}") as talk:
            for count in range(100_000):
                body = f"{number}-{count}"
                try:
                    answer = await talk.ask(op="publish", room="last", body=body)
                except (OSError, WebSocketException, TimeoutError):  # the connection may end in any of these ways
                    break
                if answer["type"] == "ack":
                    acknowledged.append(body)
                elif answer["code"] == "unavailable":
                    break
        return acknowledged

    async def test() -> list[list[str]]:
        publishers = [asyncio.create_task(publisher(number)) for number in range(4)]
        while (await asyncio.to_thread(call, server, "GET", "/rooms/last")).json["last"] < 50:
            pass
        server.signal(signal.SIGTERM)
        return await asyncio.gather(*publishers)

    acknowledged = {body for bodies in run(test()) for body in bodies}
    process = server._running()
    assert wait_for_end(process) == 0
    server._process = None
    server.start()
    kept: set[str] = set()
    after = 0
    while page := call(server, "GET", f"/rooms/last/messages?after={after}&limit=1000").json["messages"]:
        kept |= {message["body"] for message in page}
        after = page[-1]["seq"]
    assert acknowledged <= kept
    assert len(acknowledged) >= 40


# Start


def test_the_banner_is_printed_when_the_server_is_ready(server: ServerProcess) -> None:
    assert f"open      {server.url}/" in server.log
    assert f"--server {server.url}" in server.log
    assert server.store in server.log
    assert call(server, "GET", "/").status == 200


def test_a_port_in_use_is_reported_and_the_other_server_goes_on(server: ServerProcess) -> None:
    status, output = serve_and_fail("memory://", Path.cwd(), "--port", str(server.port))
    assert status == 1
    assert f"port {server.port} is in use" in output
    assert call(server, "GET", "/health").status == 200


def test_an_address_of_another_machine_is_reported(tmp_path: Path) -> None:
    status, output = serve_and_fail("memory://", tmp_path, "--host", "192.0.2.1")
    assert status == 1
    assert "cannot listen on 192.0.2.1" in output


@pytest.mark.parametrize("host", ["..", "a" * 70, "no.such.host.invalid"])
def test_an_invalid_or_unknown_host_is_reported(tmp_path: Path, host: str) -> None:
    status, output = serve_and_fail("memory://", tmp_path, "--host", host)
    assert status == 1
    assert f"cannot listen on {host}" in output


def test_port_0_is_any_free_port_and_the_banner_names_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chatkit.cli", "serve", "--port", "0", "--backend", "memory://"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=clean_environment({}), cwd=tmp_path) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if b"open " in line)
            port = int(line.strip().rstrip(b"/").rpartition(b":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=20):
                pass
        finally:
            process.terminate()
            process.communicate(timeout=ENDS_WITHIN_S)


def test_a_file_that_is_not_a_database_is_reported_and_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("dear diary, " * 1_000)
    status, output = serve_and_fail(f"sqlite:///{file}", tmp_path)
    assert status == 3
    assert "notes.txt is not an SQLite database" in output
    assert file.read_text() == "dear diary, " * 1_000


def test_another_programs_database_is_reported_and_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = file.read_bytes()
    status, output = serve_and_fail(f"sqlite:///{file}", tmp_path)
    assert status == 3
    assert "other.db is another program's database" in output
    assert file.read_bytes() == before


def test_a_store_of_a_newer_chatkit_is_reported(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db") as server:
        publish(server, "a", "x")
    with sqlite3.connect(tmp_path / "rooms.db") as store:
        store.execute("PRAGMA user_version = 999")
    store.close()
    status, output = serve_and_fail(f"sqlite:///{tmp_path}/rooms.db", tmp_path)
    assert status == 3
    assert "newer" in output


def test_a_folder_that_cannot_be_written_to_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    is_root = os.geteuid() == 0  # file modes do not stop root, so another user has to try
    assert not is_root or pwd.getpwnam("nobody")
    if is_root and not _reads_as_nobody():
        folder = Path("/proc/chatkit")  # not even root can write there
    status, output = serve_and_fail(
        f"sqlite:///{folder}/rooms.db", Path("/"), user="nobody" if folder.parent == tmp_path and is_root else None
    )
    assert status == 3, output
    assert "rooms.db" in output


def _reads_as_nobody() -> bool:
    """Return whether another user can run this interpreter and read this source."""
    try:
        command = [sys.executable, "-c", "import chatkit.cli.serve, tempfile"]
        return subprocess.run(command, user="nobody", capture_output=True, check=False, cwd="/").returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize(
    ("store", "status", "sentence"),
    [
        ("nosuch://x", 2, "there is no backend 'nosuch'"),
        ("rooms.db", 2, "a file is sqlite:///rooms.db"),
        ("sqlite:///missing/folder/rooms.db", 3, "rooms.db"),
        ("sqlite:////", 3, ""),
    ],
)
def test_an_invalid_store_is_reported(tmp_path: Path, store: str, status: int, sentence: str) -> None:
    ended, output = serve_and_fail(store, tmp_path)
    assert (ended, sentence in output) == (status, True), output


@pytest.mark.parametrize(
    "options", [("--history", "5000"), ("--secret", "short"), ("--origin", "example"), ("--path-prefix", "chat")]
)
def test_invalid_options_exit_with_2(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert serve_and_fail("memory://", tmp_path, *options)[0] == 2


def test_log_json_writes_json_lines(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", "--log-json", "--log-level", "info") as server:
        call(server, "GET", "/rooms")
        server.stop()
        lines = [json.loads(line) for line in server.log.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert any(f"open      {server.url}/" in line["message"] for line in lines)  # the banner is one of them
    assert any("GET /rooms " in line["message"] for line in lines)
    assert not [line for line in lines if line["level"] == "error"]


def test_only_one_of_two_servers_that_start_together_gets_the_port(tmp_path: Path) -> None:
    """Of two servers that start together on one port, one serves and the other reports the port in use."""
    with serve(tmp_path / "rooms.db") as server:
        port = str(server.port)
    store = f"sqlite:///{tmp_path}/rooms.db"
    command = [sys.executable, "-m", "chatkit.cli", "serve", "--port", port, "--backend", store]
    both = [
        subprocess.Popen(command, stderr=subprocess.PIPE, env=clean_environment({}), cwd=tmp_path, text=True)
        for _ in range(2)
    ]
    output: dict[int, str] = {}

    def collect(process: subprocess.Popen[str]) -> None:
        output[process.pid] = process.communicate()[1]

    collectors = [threading.Thread(target=collect, args=(process,)) for process in both]
    for collector in collectors:
        collector.start()
    try:
        deadline = time.monotonic() + 30
        while all(process.poll() is None for process in both):
            assert time.monotonic() < deadline, "both servers have the port"
            time.sleep(0.02)
        eventually(lambda: answers(int(port)))
    finally:
        for process in both:
            process.terminate()
        for collector in collectors:
            collector.join(ENDS_WITHIN_S)
    ends = sorted(process.returncode for process in both)
    loser = next(process for process in both if process.returncode == 1)
    assert ends == [0, 1]
    assert "is in use" in output[loser.pid]
    assert "Traceback" not in "".join(output.values())


# The banner


def test_the_banner_of_the_default_address_shows_no_server_option() -> None:
    banner = rooms_banner(Settings(), 8000)
    assert "chatkit join ops\n" in banner
    assert "token" not in banner


def test_the_banner_shows_a_command_that_the_shell_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "en v" / "bin" / "chatkit"
    command.parent.mkdir(parents=True)
    command.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(command), "serve"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert "  join      'en v/bin/chatkit' join ops\n" in rooms_banner(Settings(), 8000)
    monkeypatch.setenv("PATH", str(command.parent))
    assert "  join      chatkit join ops\n" in rooms_banner(Settings(), 8000)


def test_the_banner_escapes_the_token_for_the_link_and_the_shell() -> None:
    token = "a b&c$'d#"
    banner = rooms_banner(Settings(secret=token, port=9000), 9000, token=token)
    assert "http://127.0.0.1:9000/?token=a%20b%26c%24%27d%23" in banner
    join = next(line for line in banner.splitlines() if "chatkit join" in line)
    out = subprocess.run(
        ["sh", "-c", join.replace("join      chatkit", "printf '%s|'")], capture_output=True, text=True, check=True
    )
    assert out.stdout == "join|ops|--server|http://127.0.0.1:9000|"
    curl = next(line for line in banner.splitlines() if "curl" in line)
    out = subprocess.run(
        ["sh", "-c", curl.replace("curl", "printf '%s|'")],
        capture_output=True,
        text=True,
        check=True,
        env={"CHATKIT_TOKEN": token},
    )
    assert out.stdout == f"-d|hello|-H|Authorization: Bearer {token}|http://127.0.0.1:9000/rooms/ops/messages|"


def test_the_banner_does_not_show_a_given_token() -> None:
    for settings in (Settings(secret="eight-or-more"), Settings(secret="eight-or-more", log_json=True)):
        banner = startup_banner(settings, 8000, first_token=None)
        assert "eight-or-more" not in banner
        assert "CHATKIT_TOKEN" in banner


def test_a_new_token_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert "/?token=eight-or-more\n" in startup_banner(Settings(host="0.0.0.0"), 8000, first_token="eight-or-more")


def test_a_new_token_is_written_to_a_file_if_no_terminal_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for log_json in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", (lambda: True) if log_json else (lambda: False))
        banner = startup_banner(Settings(host="0.0.0.0", log_json=log_json), 8000, first_token="eight-or-more")
        assert "eight-or-more" not in banner
        file = tmp_path / "chatkit" / "token-8000"
        assert str(file) in banner
        assert (file.read_text(), file.stat().st_mode & 0o777) == ("eight-or-more\n", 0o600)


def test_the_banner_says_what_open_gives_to_everyone() -> None:
    grants = (Grant("*", (Right.READ, Right.WRITE)), Grant("news*", (Right.READ,)))
    banner = rooms_banner(Settings(host="0.0.0.0", open_grants=grants), 8000)
    assert "Warning: --open lets everyone who reaches this address read and write all rooms, read news*" in banner
    assert "token " not in banner
    assert "Warning" not in rooms_banner(Settings(), 8000)


@pytest.mark.parametrize("text", ["from the file\n", "\ufefffrom the file\r\n"])
def test_a_secret_is_read_from_a_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    for options, env in (
        (("--secret-file", str(file)), {"CHATKIT_SECRET": "not this one"}),
        ((), {"CHATKIT_SECRET_FILE": str(file)}),
    ):
        with serve("memory://", *options, folder=tmp_path, env=env) as server:
            assert call(server, "GET", "/rooms", Authorization="Bearer from the file").status == 200
            assert call(server, "GET", "/rooms").status == 401
            assert "can read" not in server.log


@pytest.mark.parametrize("content", [None, b"", b"two lines\nof eight\n", b"\xff\xfe12345678", b"x" * 5_000])
def test_an_invalid_secret_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    status, output = serve_and_fail("memory://", tmp_path, "--secret-file", str(file))
    assert status == 2
    assert str(file) in output


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_is_in_brackets(host: str) -> None:
    assert "http://[::1]:8000/" in rooms_banner(Settings(host=host), 8000)


@pytest.mark.parametrize(
    ("given", "is_made"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"trust_proxies": ("127.0.0.1",)}, True),
        ({}, False),
        ({"host": "0.0.0.0", "secret": "eight-or-more"}, False),
        ({"host": "0.0.0.0", "open_grants": (Grant("*", (Right.READ,)),)}, False),
    ],
)
def test_a_first_token_is_made_if_nobody_could_use_the_server_and_only_once(
    tmp_path: Path, given: dict[str, Any], is_made: bool
) -> None:
    async def test() -> None:
        settings = Settings(backend=f"sqlite:///{tmp_path}/rooms.db", **given)
        async with open_app(settings) as app:
            hub = app.state.admission.hub
            made = await make_first_token(settings, hub)
            assert (made is not None) is is_made
            if made is not None:
                admin = hub.access.authenticate(made, "192.0.2.1", hub.now_ms())
                hub.access.check(admin, Right.ADMIN, None, hub.now_ms())
                assert admin.name == "admin"
        assert await make_first_token_of_store(settings) is None

    run(test())


def test_of_servers_that_start_at_the_same_time_one_makes_the_first_token(tmp_path: Path) -> None:
    async def test() -> None:
        settings = Settings(host="0.0.0.0", backend=f"sqlite:///{tmp_path}/rooms.db")
        made = await asyncio.gather(*(make_first_token_of_store(settings) for _ in range(4)))
        assert len([secret for secret in made if secret is not None]) == 1

    run(test())
