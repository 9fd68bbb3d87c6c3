"""The start of a server: it is ready, or one sentence names the port, address, store or option that is wrong."""

import json
import os
import pwd
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_client import call, eventually, publish
from serving import ServerProcess, clean_environment, serve

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


# Addresses


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


# Stores


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


# Options


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
