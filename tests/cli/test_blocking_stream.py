"""Programs write all of their output, also to a stream in non-blocking mode."""

import os
import subprocess
import threading

import pytest

from chatkit.cli.blocking_stream import blocking_stream

MUCH = 300_000  # bytes, more than a pipe holds
PATIENCE_S = 60


def test_a_program_waits_for_a_reader_that_is_slower_than_it() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    received: list[bytes] = []

    def receive() -> None:
        with os.fdopen(reads, "rb") as source:
            received.append(source.read())

    thread = threading.Thread(target=receive)
    words = ["head", "-c", str(MUCH), "/dev/zero"]
    with blocking_stream(writes) as stdout, subprocess.Popen(words, stdout=stdout) as head:
        thread.start()
        assert head.wait(PATIENCE_S) == 0
    os.close(writes)
    thread.join()
    assert len(received[0]) == MUCH


def test_a_program_learns_that_nobody_reads() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    os.close(reads)
    with blocking_stream(writes) as stdout, subprocess.Popen(["yes"], stdout=stdout) as yes:
        assert yes.wait(PATIENCE_S) != 0
    os.close(writes)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_stream_that_blocks_is_given_as_it_is(*, is_open: bool) -> None:
    reads, writes = os.pipe()
    if not is_open:
        os.close(writes)
    with blocking_stream(writes) as stdout:
        assert stdout == writes
    os.close(reads)
    if is_open:
        os.close(writes)
