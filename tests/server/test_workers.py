"""Several workers on one address: clients see one server, also when a worker is killed, paused or restarted."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import TypeVar

import forking
import pytest
from prometheus_client.parser import text_string_to_metric_families
from raw_client import Talk, call, eventually, open_socket, run, whole_room
from serving import ServerProcess, clean_environment, free_port
from websockets.exceptions import ConnectionClosed
from worker_group import WorkerConnection, WorkerGroup, children, is_running, serve_workers

from chatkit.client import Client
from chatkit.core.model import Message
from chatkit.errors import BadRequest
from chatkit.server.settings import BURST_S, Settings
from chatkit.server.token_attempts import BURST, REFILL_S

ENDS_WITHIN_S = 60.0
FOLLOWERS = 4  # enough for each of two workers to have some

Opened = TypeVar("Opened")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[WorkerGroup]:
    with serve_workers(tmp_path / "rooms.db") as started:
        yield started
    assert "Traceback" not in started.server.log


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start `chatkit serve` in a process group of its own."""
    command = [sys.executable, "-m", "chatkit.cli", "serve", *words]
    env = clean_environment({})
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)


def serve_and_fail(folder: Path, *words: str) -> tuple[int, str]:
    """Run a `chatkit serve --workers 2` that cannot start; return its exit status and its output."""
    with start(folder, "--workers", "2", *words) as process:
        output = process.communicate(timeout=60)[1]
    assert "Traceback" not in output, output
    return process.returncode, output


def wait_for_end(server: ServerProcess) -> int:
    """Wait until a server that was stopped has ended; return its exit status."""
    status = server._running().wait(ENDS_WITHIN_S)
    server._process = None
    return status


async def open_on_both(
    serve_workers: WorkerGroup,
    stack: AsyncExitStack,
    n_least: int,
    open_one: Callable[[int], AbstractAsyncContextManager[Opened]],
) -> list[Opened]:
    """Open at least `n_least` connections, and more until each worker has one: a slow worker accepts fewer."""
    opened: list[Opened] = []
    while len(opened) < n_least or 0 in (await asyncio.to_thread(lambda: serve_workers.connections)).values():
        assert len(opened) < 20 * n_least
        opened.append(await stack.enter_async_context(open_one(len(opened))))
    return opened


# One server for clients


def test_messages_through_any_worker_reach_the_readers_on_every_worker_in_order_and_once(two: WorkerGroup) -> None:
    async def publisher(name: str) -> None:
        async with Talk.open(two.server, f"/ws/all?name={name}&history=0") as talk:
            for number in range(100):
                assert (await talk.ask(op="publish", body=f"{name}-{number}"))["type"] == "ack"

    async def test() -> None:
        async with AsyncExitStack() as stack:
            readers = await open_on_both(two, stack, FOLLOWERS, lambda _: Talk.open(two.server, "/ws/all?history=0"))
            await asyncio.gather(*(publisher(f"t{number}") for number in range(4)))
            received = [[(await reader.until("message")) for _ in range(400)] for reader in readers]
        for messages in received:
            assert [message["seq"] for message in messages] == list(range(1, 401))
            assert len({message["body"] for message in messages}) == 400

    run(test())


def test_a_message_acknowledged_by_one_worker_is_read_from_the_others(two: WorkerGroup) -> None:
    with two.connect_to_each() as connections:
        for number, connection in enumerate(connections.values()):
            assert connection.ask("POST", "/rooms/read/messages", f"by {number}")["seq"] == number + 1
            for other in connections.values():
                assert len(other.ask("GET", "/rooms/read/messages")["messages"]) == number + 1


def test_every_worker_lists_all_members_of_a_room(two: WorkerGroup) -> None:
    def are_everywhere(n_members: int) -> bool:
        with two.connect_to_each() as connections:
            seen = [connection.ask("GET", "/rooms/here/members")["members"] for connection in connections.values()]
        names = {f"t{number}" for number in range(n_members)}
        return all({member["name"] for member in members} == names for members in seen)

    async def test() -> None:
        async with AsyncExitStack() as stack:
            talks = await open_on_both(two, stack, 4, lambda number: Talk.open(two.server, f"/ws/here?name=t{number}"))
            await asyncio.to_thread(eventually, lambda: are_everywhere(len(talks)))

    run(test())


def test_typing_and_redactions_reach_clients_of_other_workers(two: WorkerGroup) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            talks = await open_on_both(
                two, stack, 6, lambda number: Talk.open(two.server, f"/ws/signs?name=t{number}&history=0")
            )
            for talk in talks:
                await talk.until("joined")
            await talks[0].send(op="typing")
            for talk in talks[1:]:
                await talk.until("typing", sender="t0")
            await talks[0].ask(op="publish", body="a secret")
            for talk in talks[1:]:
                await talk.until("message", body="a secret")
            assert (await asyncio.to_thread(call, two.server, "DELETE", "/rooms/signs/messages/1")).status == 200
            for talk in talks:
                await talk.until("redacted", seq=1)

    run(test())


def test_the_worker_with_fewer_connections_gets_the_next(two: WorkerGroup) -> None:
    async def test(paused: int, connections: list[WorkerConnection]) -> None:
        def counts() -> list[int]:
            return [connection.health["connections"] for connection in connections]

        async with AsyncExitStack() as stack:
            os.kill(paused, signal.SIGSTOP)
            try:
                for _ in range(40):
                    await stack.enter_async_context(open_socket(two.server, "/ws/spread"))
            finally:
                os.kill(paused, signal.SIGCONT)
            fewer, more = await asyncio.to_thread(counts)
            assert (fewer, more) == (0, 40)
            while more - fewer > 4:
                await stack.enter_async_context(open_socket(two.server, "/ws/spread"))
                fewer, more = await asyncio.to_thread(counts)
                assert fewer + more < 240  # eighty at best, more on a busy machine; without balancing there is no end

    with two.connect_to_each() as connections:
        first = min(connections)
        run(test(first, [connections.pop(first), *connections.values()]))


def test_the_limit_on_connections_applies_to_the_whole_server(tmp_path: Path) -> None:
    async def is_accepted(server: ServerProcess, stack: AsyncExitStack) -> bool:
        talk = await stack.enter_async_context(Talk.open(server, "/ws/few"))
        with suppress(ConnectionClosed):
            await talk.until("joined")
        assert talk.socket.close_code in {None, 4508}
        return talk.socket.close_code is None

    async def test(server: ServerProcess) -> None:
        async with AsyncExitStack() as stack:
            accepted = [await is_accepted(server, stack) for _ in range(8)]
            assert 2 <= sum(accepted) <= 4

    with serve_workers(tmp_path / "rooms.db", "--max-connections", "4") as small:
        run(test(small.server))


def test_limits_on_messages_and_on_wrong_tokens_apply_to_the_whole_server(tmp_path: Path) -> None:
    with serve_workers(tmp_path / "rooms.db", "--secret", "correct-horse", "--rate-limit", "1") as limited:
        right, wrong = ({"Authorization": f"Bearer {secret}"} for secret in ("correct-horse", "wrong-horse"))
        started_at = time.monotonic()
        with WorkerGroup(limited.server, right).connect_to_each() as connections:
            sent = [
                _status(connection, "POST", "/rooms/a/messages?name=ann", right)
                for connection in connections.values()
                for _ in range(25)
            ]
            guessed = [
                _status(connection, "GET", "/rooms", wrong) for connection in connections.values() for _ in range(25)
            ]
        passed_s = time.monotonic() - started_at
    assert BURST_S <= sent.count(201) <= BURST_S + (len(connections) + 1) * (passed_s + 1)
    assert set(sent) == {201, 429}
    assert BURST <= guessed.count(401) <= BURST + passed_s / REFILL_S + 1
    assert set(guessed) == {401, 429}


def _status(connection: WorkerConnection, method: str, path: str, headers: dict[str, str]) -> int:
    connection.request(method, path, "x" if method == "POST" else None, headers)
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def test_all_workers_share_the_new_token_and_no_process_list_shows_it(tmp_path: Path) -> None:
    with serve_workers(tmp_path / "rooms.db", "--host", "0.0.0.0", command=forking.EXECUTED) as guarded:
        (token_file,) = set(re.findall(r"stored in (\S+);", guarded.server.log))
        token = Path(token_file).read_text().strip()
        assert token not in guarded.server.log
        workers = WorkerGroup(guarded.server, {"Authorization": f"Bearer {token}"})
        with workers.connect_to_each() as connections:
            for pid, connection in connections.items():
                connection.ask("GET", "/rooms")
                command = Path(f"/proc/{pid}/cmdline").read_text()
                assert "chatkit.server.workers.worker" in command
                assert token not in command
                assert token not in Path(f"/proc/{pid}/environ").read_text()
        assert call(guarded.server, "GET", "/rooms").status == 401
        assert guarded.server.log.count("open  ") == 1


# Workers that end


class Flow:
    """A steady flow of messages with keys, and clients that follow it through whichever worker accepts them."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.is_over = asyncio.Event()
        self.n_acknowledged = 0
        self.received: list[list[Message]] = [[] for _ in range(FOLLOWERS)]

    async def publish(self) -> None:
        async with Client(self._server.url, name="publisher") as client:
            while not self.is_over.is_set():
                number = self.n_acknowledged + 1
                await client.publish("flow", f"{number}", key=f"key-{number}")
                self.n_acknowledged = number
            await client.publish("flow", "the end")

    async def follow(self, received: list[Message]) -> None:
        async with Client(self._server.url, name="follower") as client:
            async for message in client.follow("flow", history=0):
                assert isinstance(message, Message), message  # and no gap
                received.append(message)
                if message.body == "the end":
                    return

    async def advance(self, count: int) -> None:
        """Wait until `count` more messages are acknowledged and every follower has received them."""
        goal = self.n_acknowledged + count
        while min([self.n_acknowledged, *map(len, self.received)]) < goal:  # noqa: ASYNC110  # other processes do the work
            await asyncio.sleep(0.01)


async def flow_through(server: ServerProcess, events: Sequence[Callable[[], None]]) -> None:
    """Check that no message is lost, repeated or out of order while the events happen."""
    flow = Flow(server)
    async with asyncio.TaskGroup() as tasks:
        for received in flow.received:
            tasks.create_task(flow.follow(received))
        publishing = tasks.create_task(flow.publish())
        await flow.advance(20)
        for event in events:
            await asyncio.to_thread(event)
            await flow.advance(20)
        flow.is_over.set()
        await publishing
    stored = whole_room(server, "flow")
    expected = [str(number) for number in range(1, flow.n_acknowledged + 1)] + ["the end"]
    assert [message["body"] for message in stored] == expected
    for received in flow.received:
        assert [message.body for message in received] == expected[len(expected) - len(received) :]
        assert len(received) > 20 * len(events)


def test_a_killed_worker_is_replaced_and_its_clients_lose_nothing(two: WorkerGroup) -> None:
    def kill_one() -> None:
        victim = min(two.pids)
        os.kill(victim, signal.SIGKILL)
        two.until_replaced({victim})

    run(flow_through(two.server, [kill_one, kill_one]), within_s=120)
    assert len(re.findall(r"worker \d+ ended by SIGKILL: a new one is started", two.server.log)) == 2


def test_a_rolling_restart_loses_and_repeats_no_message(two: WorkerGroup) -> None:
    def restart() -> None:
        before = two.pids
        two.server.signal(signal.SIGHUP)
        two.until_replaced(before)

    run(flow_through(two.server, [restart, restart]), within_s=120)
    assert "WARNING" not in two.server.log


def test_new_connections_do_not_wait_for_a_paused_worker(two: WorkerGroup) -> None:
    paused = min(two.pids)
    os.kill(paused, signal.SIGSTOP)
    try:
        for _ in range(20):
            assert call(two.server, "GET", "/health").json["pid"] != paused
    finally:
        os.kill(paused, signal.SIGCONT)


def test_a_scrape_of_any_worker_shows_all_of_them_and_which_one_does_not_answer(two: WorkerGroup) -> None:
    def scrape(connection: WorkerConnection, name: str) -> dict[str, float]:
        connection.request("GET", "/metrics")
        families = text_string_to_metric_families(connection.getresponse().read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {sample.labels["worker"]: sample.value for sample in samples}

    with two.connect_to_each() as connections:
        first, second = connections.values()
        for connection in (first, second, second):
            connection.ask("POST", "/rooms/ops/messages", "hi")
        published = scrape(first, "chatkit_messages_published_total")
        assert published.keys() == {"0", "1"}
        assert sorted(published.values()) == [1, 2]
        assert scrape(second, "chatkit_messages_published_total") == published
        paused = next(iter(connections))
        os.kill(paused, signal.SIGSTOP)
        try:
            assert sorted(scrape(second, "chatkit_worker_up").values()) == [0, 1]
            assert list(scrape(second, "chatkit_messages_published_total").values()) == [2]
        finally:
            os.kill(paused, signal.SIGCONT)
        assert list(scrape(second, "chatkit_worker_up").values()) == [1, 1]


APPLICATION = """
import time
from pathlib import Path

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        is_broken = Path("broken").exists()
        await send({"type": "lifespan.startup." + ("failed" if is_broken else "complete")})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": scope["path"] == "/stuck"})
        while scope["path"] == "/stuck":
            time.sleep(1)
"""


@pytest.fixture
def application(tmp_path: Path) -> Iterator[WorkerGroup]:
    """Workers that serve an application of the user, which starts unless there is a file called `broken`."""
    (tmp_path / "some.py").write_text(APPLICATION)
    with serve_workers("sqlite://", "some:app", folder=tmp_path) as started:
        yield started
    assert "Traceback" not in started.server.log


def test_workers_serve_an_application_and_one_that_does_not_start_is_retried(
    application: WorkerGroup, tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    victim = min(application.pids)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: application.server.log.count("no worker could be started: some:app did not start") >= 2)
    assert call(application.server, "GET", "/").status == 200
    (tmp_path / "broken").unlink()
    eventually(lambda: len(application.pids) == 2, within_s=60)
    assert application.server.stop() == 0


def test_the_server_stops_if_no_worker_can_be_started(application: WorkerGroup, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    for pid in application.pids:
        os.kill(pid, signal.SIGKILL)
    assert wait_for_end(application.server) == 3
    assert "chatkit: some:app did not start; the log says why" in application.server.log


def test_after_a_failed_restart_the_old_workers_continue(application: WorkerGroup, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    before = application.pids
    application.server.signal(signal.SIGHUP)
    eventually(lambda: "the restart was stopped, and the old workers continue: some:app" in application.server.log)
    assert application.pids == before
    assert call(application.server, "GET", "/").status == 200


# Shutdown


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
    assert "did not end within 8 s: it is killed" in application.server.log


def test_workers_stop_when_the_supervisor_is_killed(two: WorkerGroup) -> None:
    pids = two.pids
    two.server.kill9()
    eventually(lambda: not any(map(is_running, pids)))
    two.server.start()  # and the port is free again


@pytest.mark.parametrize("is_early", [False, True])
def test_ctrl_c_stops_the_whole_process_group_with_130_and_no_output(tmp_path: Path, is_early: bool) -> None:
    words = ("--workers", "2", "--port", "0", "--backend", f"sqlite:///{tmp_path}/rooms.db")
    with start(tmp_path, *words) as process:
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
    assert (process.returncode, output) == (130, "")
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


# Errors at the start


def test_the_memory_backend_is_refused_for_several_workers(tmp_path: Path) -> None:
    status, output = serve_and_fail(tmp_path, "--port", "0", "--backend", "memory://")
    assert status == 2
    assert output.startswith("chatkit: memory:// belongs to one process")


def test_an_application_with_channels_in_memory_is_refused_for_several_workers(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(
        "from litestar import Litestar\n"
        "from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend\n"
        "app = Litestar(plugins=[ChannelsPlugin(MemoryChannelsBackend(), channels=['a'])])\n"
    )
    status, output = serve_and_fail(tmp_path, "--port", "0", "some:app")
    assert status == 2
    assert output == (
        "chatkit: the channels of this application are kept in memory, which workers do not share: give the plugin"
        " another backend, or serve with one worker\n"
    )


def test_a_port_in_use_is_reported_once_and_no_process_stays(two: WorkerGroup, tmp_path: Path) -> None:
    status, output = serve_and_fail(tmp_path, "--port", str(two.server.port), "--backend", "sqlite:///other.db")
    assert status == 1
    assert output.count(f"port {two.server.port} is in use") == 1
    assert call(two.server, "GET", "/health").status == 200


def test_a_store_that_cannot_be_opened_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary, " * 1_000)
    status, output = serve_and_fail(tmp_path, "--port", str(free_port()), "--backend", "sqlite:///notes.txt")
    assert status == 3
    assert output.count("is not an SQLite database") == output.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"workers": 0}, "workers must be at least 1"),
        ({"workers": 4, "max_connections": 3}, "max-connections must be at least 1 for each worker: 4"),
    ],
)
def test_an_invalid_number_of_workers_is_refused(given: dict[str, int], sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Settings(**given)  # type: ignore[arg-type]  # only numbers are given here
    assert str(refused.value) == sentence
