"""The end of a server with several workers: signals, workers that hang, and a supervisor that is killed."""

import asyncio
import os
import pty
import re
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from raw_client import call, eventually, open_socket, run
from serving import ServerProcess, clean_environment, start_in_process_group
from worker_group import STOP_TIMEOUT_S, WorkerGroup, children, is_running, open_on_both

from chatkit.server.workers.process import WorkerProcess

pytest_plugins = ["worker_fixtures"]

ENDS_WITHIN_S = 60.0


def wait_for_end(server: ServerProcess) -> int:
    """Wait until a server that was stopped has ended; return its exit status."""
    status = server._running().wait(ENDS_WITHIN_S)
    server._process = None
    return status


def test_the_server_stops_if_no_worker_can_be_started(application: WorkerGroup, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    for pid in application.pids:
        os.kill(pid, signal.SIGKILL)
    assert wait_for_end(application.server) == 3
    assert "chatkit: some:app did not start; the log says why" in application.server.log


@pytest.mark.parametrize("is_one_paused", [False, True])
def test_sigterm_stops_all_workers_and_closes_every_client_with_1012(two: WorkerGroup, is_one_paused: bool) -> None:
    pids = two.pids

    async def test() -> None:
        async with AsyncExitStack() as stack:
            opened = await open_on_both(two, stack, 4, lambda _: open_socket(two.server, "/ws/end"))
            if is_one_paused:
                os.kill(min(pids), signal.SIGSTOP)
            two.server.signal(signal.SIGTERM)
            for each in opened:
                await asyncio.wait_for(each.wait_closed(), ENDS_WITHIN_S)
                assert each.close_code == 1012

    run(test())
    assert wait_for_end(two.server) == 0
    assert not [pid for pid in pids if is_running(pid)]


def test_a_worker_that_hangs_is_killed_after_a_timeout(application: WorkerGroup) -> None:
    pids = application.pids
    assert call(application.server, "GET", "/").status == 200

    async def test() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", application.server.port)
        writer.write(b"GET /stuck HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readline()  # from now on, its worker handles no signal
        application.server.signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: not any(map(is_running, pids)))
        writer.close()

    run(test())
    assert wait_for_end(application.server) == 0
    assert f"did not end within {STOP_TIMEOUT_S:.0f} s: it is killed" in application.server.log


def test_workers_stop_when_the_supervisor_is_killed(two: WorkerGroup) -> None:
    pids = two.pids
    two.server.kill9()
    eventually(lambda: not any(map(is_running, pids)))
    two.server.start()  # and the port is free again


@pytest.mark.parametrize("is_early", [False, True])
def test_ctrl_c_stops_the_whole_process_group_with_130_and_no_output(tmp_path: Path, is_early: bool) -> None:
    words = ("--workers", "2", "--port", "0", "--backend", f"sqlite:///{tmp_path}/rooms.db")
    with start_in_process_group(tmp_path, *words) as process:
        assert process.stderr is not None
        if is_early:  # while the workers' Python starts
            eventually(lambda: children(process.pid))
        else:
            while "Press Ctrl-C" not in process.stderr.readline():
                assert process.poll() is None
        pids = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=ENDS_WITHIN_S)[1]
    assert process.returncode == 130
    if is_early and output:  # on a busy machine, the server had started before the signals came
        assert re.fullmatch(r"chatkit .*\bPress Ctrl-C to stop the server\.\n", output, re.DOTALL)
        assert "Traceback" not in output
    else:
        assert output == ""
    assert not [pid for pid in pids if is_running(pid)]


def test_a_hangup_stops_the_server_if_its_terminal_is_closed_and_restarts_it_otherwise(tmp_path: Path) -> None:
    words = ["serve", "--workers", "2", "--port", "0", "--backend", f"sqlite:///{tmp_path}/rooms.db"]
    pid, terminal = pty.fork()
    if not pid:  # the child process
        os.execve(sys.executable, [sys.executable, "-m", "chatkit.cli", *words], clean_environment({}))
    try:
        output = b""
        while b"Press Ctrl-C" not in output:
            output += os.read(terminal, 1_000)
        before = children(pid)
        os.kill(pid, signal.SIGHUP)
        eventually(lambda: len(pids := children(pid)) == 2 and not pids & before, within_s=60)
        pids = children(pid)
        os.close(terminal)
        eventually(lambda: not is_running(pid))
        assert not [each for each in pids if is_running(each)]
    finally:
        os.kill(pid, signal.SIGKILL)  # the process id is valid until `waitpid` has read the status
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0


def test_signals_to_a_process_that_ends_lose_no_exit_status() -> None:
    async def status() -> int:
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
        ours, theirs = socket.socketpair()
        with theirs:
            worker = WorkerProcess(process, await asyncio.open_connection(sock=ours), cell=0)
        signalled_until = time.monotonic() + 0.02
        while time.monotonic() < signalled_until:  # the process ends within this turn of the loop
            worker._signal(signal.SIGCONT)
        return await worker.wait_ended()

    async def test() -> list[int]:
        return [await status() for _ in range(10)]

    assert run(test()) == [3] * 10
