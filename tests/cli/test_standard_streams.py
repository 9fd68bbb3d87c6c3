"""Standard streams that are not ready, broken, full, or in another encoding."""

import fcntl
import io
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cli_process import PATIENCE_S, STDERR, STDIN, STDOUT, Shell, wait_until
from serving import ServerProcess, serve

from chatkit.cli.input import without_mark
from chatkit.cli.output import OutputClosed, StandardOutput
from chatkit.errors import BadBody

EVERY_COMMAND = ["history streams", "history streams --json", "rooms", "rooms streams", "publish streams hi --json"]
FULL = Path("/dev/full")
WITHOUT_SERVER = ["--version", "--help", "publish --help", "--show-completion bash"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "0") as process:
        yield process


@pytest.fixture
def shell(server: ServerProcess, tmp_path: Path) -> Shell:
    return Shell(tmp_path, server.url)


def start(
    shell: Shell,
    words: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "chatkit", *words.split()]
    return subprocess.Popen(command, cwd=shell.folder, env=shell.env, stdin=stdin, stdout=stdout, stderr=stderr)


def set_nonblocking(descriptor: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_NONBLOCK)


@contextmanager
def pipe() -> Iterator[tuple[int, io.FileIO]]:
    """Yield the read end, for a child process, and the write end."""
    reads, writes = os.pipe()
    with os.fdopen(writes, "wb", buffering=0) as file:
        try:
            yield reads, file
        finally:
            os.close(reads)


# Standard input


@pytest.mark.parametrize("command", ["publish", "join", "publish --json"])
def test_lines_are_read_from_a_nonblocking_pipe(shell: Shell, command: str) -> None:
    room = command.replace(" --", "-")
    with pipe() as (reads, writes):
        set_nonblocking(reads)
        with start(shell, f"{command} {room}", stdin=reads) as process:
            writes.write(b"one\n")
            wait_until(shell.counts(room, 1))
            writes.write(b"two\n")
            writes.close()
            assert process.wait(PATIENCE_S) == 0
    assert shell.bodies(room) == ["one", "two"]


def test_whole_input_is_read_from_a_nonblocking_pipe(shell: Shell) -> None:
    with pipe() as (reads, writes):
        set_nonblocking(reads)
        with start(shell, "publish whole --whole", stdin=reads) as process:
            writes.write(b"one\n")
            wait_until(lambda: unread(reads) == 0)
            writes.write(b"two\n")
            writes.close()
            assert process.wait(PATIENCE_S) == 0
    assert shell.bodies("whole") == ["one\ntwo"]


def test_an_import_is_read_from_a_nonblocking_pipe(shell: Shell) -> None:
    lines = [
        b'{"room":"moved","seq":%d,"time":"2026-11-20T11:47:21Z","sender":"ann","body":"%d"}\n' % (seq, seq)
        for seq in (1, 2)
    ]
    with pipe() as (reads, writes):
        set_nonblocking(reads)
        with start(shell, "import - --backend sqlite:///moved.db", stdin=reads) as process:
            writes.write(lines[0])
            wait_until(lambda: unread(reads) == 0)
            writes.write(lines[1])
            writes.close()
            output, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (0, b"imported 2 messages into 1 room\n")


def unread(descriptor: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(descriptor, 0x541B, bytes(4)))[0])  # FIONREAD


@pytest.mark.parametrize("command", ["publish", "join"])
def test_a_read_error_is_not_mistaken_for_the_end_of_the_input(shell: Shell, command: str) -> None:
    room = f"reset-{command}"
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    with start(shell, f"{command} {room}", stdin=near.fileno()) as process:
        near.close()
        far.sendall(b"one\nhalf a li")
        wait_until(shell.counts(room, 1))
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert b"standard input could not be read: Connection reset by peer" in errors
    assert command == "join" or b"1 of the 1 lines read are published" in errors
    assert shell.bodies(room) == ["one"]


@pytest.mark.parametrize("words", ["publish unread", "publish unread --whole", "join unread"])
def test_unreadable_input_is_reported(shell: Shell, words: str) -> None:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    with start(shell, words, stdin=descriptor) as process:
        os.close(descriptor)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert b"standard input could not be read: Bad file descriptor" in errors


@pytest.mark.parametrize("command", ["publish marked", "publish marked --whole", "join marked"])
def test_a_byte_order_mark_is_not_part_of_the_first_message(shell: Shell, command: str) -> None:
    with start(shell, command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for byte in b"\xef\xbb\xbf":
            process.stdin.write(bytes([byte]))
            process.stdin.flush()
        process.communicate(b"first\n", PATIENCE_S)
    assert shell.bodies("marked")[-1] == "first"


def test_a_byte_order_mark_before_text_and_data_is_removed(shell: Shell) -> None:
    shell.run("publish", "marked-text", "\ufefftext", "--data", '\ufeff{"a": 1}')
    stored = json.loads(shell.run("history", "marked-text", "--json"))
    assert (stored["body"], stored["data"]) == ("text", {"a": 1})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("command", ["publish wide", "publish wide --whole", "join wide"])
def test_utf_16_input_is_rejected_with_the_command_that_converts_it(shell: Shell, encoding: str, command: str) -> None:
    shell.run(*command.split(), given="first\nsecond\n".encode(encoding), status=1)
    assert ", not UTF-8 text" in shell.stderr
    assert "iconv -f UTF-" in shell.stderr


def test_bytes_that_resemble_a_byte_order_mark_are_kept() -> None:
    assert without_mark(b"\xef\xbb\xbf\xef\xbb\xbfx") == b"\xef\xbb\xbfx"
    assert without_mark(b"a\0bc") == b"a\0bc"
    with pytest.raises(BadBody):
        without_mark(b"a\0b\0")


# Standard output


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_is_written_whole_to_a_nonblocking_pipe(shell: Shell, unbuffered: str) -> None:
    bodies = [f"{number} {'x' * 200}" for number in range(600)]
    room = f"slow{unbuffered}"
    shell.run("publish", room, given="\n".join(bodies))
    shell.env["PYTHONUNBUFFERED"] = unbuffered
    reads, writes = os.pipe()
    set_nonblocking(writes)
    with start(shell, f"history {room} --json -n 0", stdout=writes) as process, os.fdopen(reads, "rb") as output:
        os.close(writes)
        wait_until(lambda: unread(reads) >= 60_000)  # about the capacity of the pipe: the command has to wait
        printed = output.read().splitlines()
        assert process.wait(PATIENCE_S) == 0
    assert [json.loads(line)["body"] for line in printed] == bodies


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", EVERY_COMMAND + WITHOUT_SERVER)
def test_an_output_error_is_reported_with_exit_code_1(shell: Shell, words: str, unbuffered: str) -> None:
    shell.publish("streams", "hi")
    shell.env["PYTHONUNBUFFERED"] = unbuffered
    with FULL.open("wb") as full, start(shell, words, stdout=full.fileno()) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert errors == b"chatkit: standard output could not be written: No space left on device\n"
    assert process.returncode == 1


@pytest.mark.parametrize("words", EVERY_COMMAND + WITHOUT_SERVER)
def test_a_command_that_only_prints_succeeds_when_its_reader_has_closed_the_pipe(shell: Shell, words: str) -> None:
    shell.publish("streams", "hi")
    reads, writes = os.pipe()
    os.close(reads)
    with start(shell, words, stdout=writes) as process:
        os.close(writes)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize("command", ["publish --json", "join"])
def test_a_command_that_publishes_reports_that_its_reader_has_closed_the_pipe(shell: Shell, command: str) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with start(shell, f"{command} left", stdin=subprocess.PIPE, stdout=writes) as process:
        os.close(writes)
        _, errors = process.communicate(b"one\ntwo\nthree\n", PATIENCE_S)
    assert process.returncode == 1
    assert b"standard output could not be written: Broken pipe" in errors


def test_writes_after_the_first_output_error_do_nothing() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    output = StandardOutput(writes)
    with pytest.raises(OutputClosed):
        output.write(b"lost")
    assert output.write(b"lost too") == 8
    os.close(writes)


def test_notices_that_cannot_be_written_do_not_change_the_exit_code(shell: Shell) -> None:
    with FULL.open("wb") as full:
        for words, status in (("publish a/b hi", 2), ("--bogus", 2), ("publish notices hi", 0)):
            with start(shell, words, stderr=full.fileno()) as process:
                process.communicate(timeout=PATIENCE_S)
            assert process.returncode == status, words


@pytest.mark.parametrize("words", ["rooms", "--version"])
def test_a_command_without_standard_output_does_not_succeed(shell: Shell, words: str) -> None:
    shell.publish("closed", "hi")
    done = shell.run_without({STDOUT}, words)
    assert done.returncode == 1
    assert b"standard output could not be written" in done.stderr


def test_a_command_without_standard_input_does_not_take_it_for_empty(shell: Shell) -> None:
    done = shell.run_without({STDIN}, "publish", "closed")
    assert done.returncode == 1
    assert b"standard input could not be read" in done.stderr


def test_a_command_that_needs_no_standard_stream_works_without_any(shell: Shell) -> None:
    assert shell.run_without({STDIN, STDOUT, STDERR}, "publish", "unneeded", "hi").returncode == 0
    assert shell.bodies("unneeded") == ["hi"]


# Encodings


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16", "utf-8"])
def test_json_is_ascii_or_utf_8_in_every_encoding(shell: Shell, encoding: str) -> None:
    room = f"json-{encoding}"
    body = "caf\u00e9 \U0001f600 \u65e5"
    shell.env["PYTHONIOENCODING"] = encoding
    stored = shell.run("publish", room, body, "--json")
    printed = shell.run("history", room, "--json")
    assert json.loads(printed)["body"] == json.loads(stored)["body"] == body
    assert encoding == "utf-8" or printed.isascii()
    assert json.loads(shell.run("rooms", room, "--json"))["room"] == room


def test_csv_and_markdown_files_are_utf_8_in_every_encoding(shell: Shell) -> None:
    shell.run("publish", "export", "\u65e5\u672c")
    shell.env["PYTHONIOENCODING"] = "latin-1"
    for form in ("csv", "markdown"):
        assert "\u65e5\u672c" in shell.run("history", "export", "--format", form)


@pytest.mark.parametrize(
    "words",
    [
        ["publish", "ops", b"\xff"],
        ["publish", b"\xff", "hi"],
        ["publish", "ops", "hi", "--name", b"\xff"],
        ["publish", "ops", "hi", "--token", b"\xff"],
        ["publish", "ops", "hi", "--key", b"\xff"],
        ["publish", "ops", "hi", "--data", b"\xff"],
        ["publish", "ops", "hi", "--server", b"http://127.0.0.1:1/\xff"],
        ["publish", "ops", "hi", "--server", b"\xff"],
        ["history", "ops", "--server", b"http://127.0.0.1:1/\xff"],
        ["history", "ops", "--since", b"\xff"],
        ["history", "ops", "--format", b"\xff"],
        ["rooms", "--server", b"http://127.0.0.1:1/\xff"],
        ["webhook", "add", "ops", b"http://127.0.0.1/\xff"],
        ["webhook", "show", b"\xff"],
        ["ban", "add", "ann", "--reason", b"\xff"],
        ["room", "set", "ops", "--topic", b"\xff"],
        ["consumers", "seek", "ops", b"\xff", "end"],
        ["mentions", "-n", b"\xff"],
        ["rooms", "--backend", b"\xff://"],
        ["join", "ops", "--server", b"http://127.0.0.1:1/\xff"],
        ["serve", "--host", b"\xff"],
        ["serve", "--origin", b"http://\xff"],
        ["serve", "--secret", b"\xff\xff\xff\xff\xff\xff\xff\xff"],
        ["serve", b"\xff:app"],
        ["serve", "--page", b"\xff"],
        ["serve", "--log-level", b"\xff"],
        [b"\xff"],
        [b"--\xff"],
    ],
    ids=repr,
)
def test_arguments_that_are_not_utf_8_are_reported_without_a_traceback(shell: Shell, words: list[str | bytes]) -> None:
    command = [sys.executable, "-m", "chatkit", *words]
    done = subprocess.run(
        command, cwd=shell.folder, env=shell.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert done.returncode in (1, 2, 3), done.stderr
    assert done.stderr
    assert b"Traceback" not in done.stderr
