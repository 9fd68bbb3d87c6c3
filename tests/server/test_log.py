"""The log: if it cannot be written, the server goes on without it."""

import fcntl
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from raw_client import call, eventually
from serving import ServerProcess, clean_environment, free_port

from chatkit.server.log_config import JsonFormatter
from chatkit.server.log_writer import LogWriter

PIPE_BYTES = 4_096  # the smallest pipe that Linux allows
PATIENCE_S = 60


def test_lines_wait_for_a_slow_reader_and_lost_lines_are_counted() -> None:
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETFL, fcntl.fcntl(writes, fcntl.F_GETFL) | os.O_NONBLOCK)
    writer = LogWriter(writes)
    for number in range(2_000):
        writer.write(f"{number:04} {'x' * 995}")  # two megabytes, of which the writer holds one
    numbers: list[int] = []
    n_lost = 0
    with os.fdopen(reads) as log:
        while len(numbers) + n_lost < 2_000:
            line = log.readline()
            if line.endswith("of the log could not be written\n"):
                n_lost += int(line.split()[0])
            else:
                numbers.append(int(line[:4]))
    assert numbers == sorted(set(numbers))
    assert numbers[:1_000] == list(range(1_000))
    assert n_lost
    writer.flush()
    os.close(writes)


@pytest.mark.parametrize("is_full", [True, False])
def test_lost_lines_are_reported_once_writing_works_again(tmp_path: Path, *, is_full: bool) -> None:
    if is_full:
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reads, descriptor = os.pipe()
        os.close(reads)
    writer = LogWriter(descriptor)
    writer.write("one\ntwo")
    writer.write("three")
    writer.flush()
    log = tmp_path / "log"
    with log.open("wb") as file:
        os.dup2(file.fileno(), descriptor)
    writer.write("four")
    writer.flush()
    os.close(descriptor)
    assert log.read_text() == "four\n2 lines of the log could not be written\n"


def test_flushing_without_a_reader_ends_after_the_timeout() -> None:
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    writer = LogWriter(writes)
    writer.write("x" * 2 * PIPE_BYTES)
    writer.flush(timeout_s=0.01)
    assert os.read(reads, 1) == b"x"
    os.close(reads)  # so that the thread's write fails and ends


def test_a_json_line_escapes_lone_surrogates() -> None:
    record = logging.LogRecord("log", logging.ERROR, "", 0, "no file %s", ("a\udcff",), None)
    line = JsonFormatter(with_pid=False).format(record)
    assert json.loads(line)["message"] == "no file a\\udcff"


@pytest.mark.parametrize("options", [[], ["--workers", "2"], ["--log-json"]])
def test_a_server_whose_log_is_not_read_keeps_serving(tmp_path: Path, options: list[str]) -> None:
    server = ServerProcess(
        "", free_port(), tmp_path, options=(), env={}
    )  # only the address: this test starts the process
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    command = [sys.executable, "-m", "chatkit", "serve", "--port", str(server.port), "--log-level", "info", *options]
    command += ["--backend", f"sqlite:///{tmp_path / 'rooms.db'}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=writes, env=clean_environment({})) as process:
        os.close(writes)
        eventually(lambda: answers(server), within_s=PATIENCE_S)
        for _ in range(200):  # each writes a line to the log
            assert call(server, "GET", "/health").status == 200
        os.close(reads)
        for _ in range(20):
            assert call(server, "GET", "/health").status == 200
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def answers(server: ServerProcess) -> bool:
    try:
        return call(server, "GET", "/health").status == 200
    except OSError:
        return False
