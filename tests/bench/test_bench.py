"""`chatkit bench` as a process: against real servers, and over a connection that corrupts deliveries."""

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest
from bench_process import PATIENCE_S, Bench, wait_until
from serving import ServerProcess, free_port, serve

from chatkit.client.endpoint import Endpoint
from chatkit.client.http import HttpClient
from chatkit.pytest_plugin.accepting import accepting


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "0") as process:
        yield process


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


SMALL = ("--subs", "9", "--pubs", "3", "--rooms", "2", "--messages", "3001", "--window", "16")


def test_a_local_server_is_started_and_leaves_nothing_behind(bench: Bench, tmp_path: Path) -> None:
    printed = bench.run(*SMALL)
    assert bench.stderr == ""
    assert printed.startswith("3,001 messages of 100 bytes by 3 senders in 2 rooms to 9 readers: ")
    rows = dict(line.rsplit("  ", 1) for line in printed.splitlines()[2:])
    assert {name.strip() for name in rows} == {
        *("messages/s", "deliveries/s", "latency p50", "latency p99", "latency max"),
        *("lost", "repeated", "out of order", "gaps", "reconnects"),
    }
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_object(bench: Bench, server: ServerProcess) -> None:
    report = bench.json(*SMALL, "--server", server.url)
    expected = {
        "server": server.url,
        "subs": 9,
        "pubs": 3,
        "rooms": 2,
        "messages": 3001,
        "size": 100,
        "window": 16,
        "resume": False,
        "acknowledged": 3001,
        "delivered": 1501 * 5 + 1500 * 4,
        "reconnects": 0,
        "complete": True,
        "lost": 0,
        "repeated": 0,
        "out_of_order": 0,
        "gaps": 0,
        "missing": 0,
        "waited_s": 0,
        "rate_limit": 0,
    }
    assert {name: report[name] for name in expected} == expected
    assert set(report) - set(expected) == {
        *("seconds", "messages_per_s", "deliveries_per_s", "p50_ms", "p99_ms", "max_ms")
    }
    assert 0 < report["p50_ms"] <= report["p99_ms"] <= report["max_ms"]


def test_disconnected_readers_resume_and_miss_nothing(bench: Bench, server: ServerProcess) -> None:
    report = bench.json(*SMALL, "--server", server.url, "--resume")
    assert report["reconnects"] > 0
    assert report["delivered"] == 1501 * 5 + 1500 * 4
    assert (report["lost"], report["repeated"], report["out_of_order"], report["gaps"]) == (0, 0, 0, 0)


def test_without_readers_acknowledgements_are_compared_with_the_store(bench: Bench, server: ServerProcess) -> None:
    report = bench.json("--server", server.url, "--subs", "0", "--messages", "500", "--rooms", "7", "--size", "24")
    assert (report["acknowledged"], report["delivered"], report["complete"]) == (500, 0, True)


def messages_stored(server: ServerProcess) -> int:
    with HttpClient(Endpoint.parse(server.url)) as calls:
        return sum(room.last for room in calls.rooms())


LONG = ("--subs", "10", "--pubs", "2", "--window", "4")


def test_a_killed_and_restarted_server_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    with (
        serve(tmp_path / "rooms.db", "--rate-limit", "0") as server,
        bench.start(*LONG, "--messages", "20000", "--server", server.url, "--json") as process,
    ):
        wait_until(lambda: messages_stored(server) > 1_000)
        server.kill9()
        server.start()
        report = json.loads(bench.end(process))
    assert report["reconnects"] >= 12
    assert (report["acknowledged"], report["delivered"]) == (20_000, 200_000)


def test_a_wiped_store_is_reported_as_a_loss(bench: Bench, tmp_path: Path) -> None:
    with (
        serve("memory://", "--rate-limit", "0", folder=tmp_path) as server,
        bench.start(*LONG, "--messages", "100000", "--server", server.url, "--json") as process,
    ):
        wait_until(lambda: messages_stored(server) > 500)
        server.kill9()
        server.start()
        report = json.loads(bench.end(process, status=1))
    assert report["lost"] > 0
    assert not report["complete"]


def test_ctrl_c_prints_a_partial_report(bench: Bench, tmp_path: Path) -> None:
    with (
        serve(tmp_path / "rooms.db", "--rate-limit", "0") as server,
        bench.start(*LONG, "--messages", "1000000", "--server", server.url, "--json") as process,
    ):
        wait_until(lambda: messages_stored(server) > 100)
        process.send_signal(signal.SIGINT)
        report = json.loads(bench.end(process, status=130))
    assert 0 < report["acknowledged"] < 1_000_000
    assert (report["lost"], report["complete"]) == (0, False)
    assert bench.stderr == ""


def test_senders_wait_for_the_rate_limit(bench: Bench, tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", "--rate-limit", "40", "--secret", "right-token") as server:
        words = ("--server", server.url, "--subs", "3", "--pubs", "2", "--messages", "900")
        bench.run(*words, status=4)
        printed = bench.run(*words, "--token", "right-token")
    assert "The server takes 40 messages/s of a sender: each waited " in printed
    assert "each waited 0.0 s" not in printed


def test_the_exit_code_without_a_server_is_3(bench: Bench) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert bench.run("--server", url, status=3) == ""
    assert f"no server answers at {url}" in bench.stderr


def test_the_number_of_needed_descriptors_is_reported(bench: Bench) -> None:
    assert bench.run("--subs", "500", status=2, shell="ulimit -n 200; exec") == ""
    assert "500 readers and 4 senders need 568 file descriptors, and this process may have 200" in bench.stderr


def test_help_and_bounds_are_printed(bench: Bench) -> None:
    assert "check that no message was lost" in bench.run("--help")
    bench.run("--messages", "0", status=2)
    assert "--messages is 1 to 10000000" in bench.stderr


class Line:
    """A line to a server that treats one message to one reader badly: `spoil` is given its frame and the next."""

    def __init__(self, port: int, spoil: Callable[[bytes, bytes], bytes]) -> None:
        self._port = port
        self._spoil = spoil

    @contextmanager
    def running(self) -> Iterator[str]:
        loop = asyncio.new_event_loop()
        listening = accepting(self._serve)
        port = loop.run_until_complete(listening.__aenter__())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(self._end(listening), loop).result(PATIENCE_S)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _end(self, listening: AbstractAsyncContextManager[int]) -> None:
        await listening.__aexit__(None, None, None)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            head = await client.readuntil(b"\r\n\r\n")
            to_server.write(head)
            back = self._spoiled if b"name=bench-reader-1&" in head else self._copy
            await asyncio.gather(self._copy(client, to_server), back(server, to_client))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # one side is gone, and so is the other then
        finally:
            to_server.transport.abort()
            to_client.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65_536):
            to.write(chunk)
        raise ConnectionResetError

    async def _spoiled(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        to.write(await source.readuntil(b"\r\n\r\n"))
        while True:
            frame = await self._frame(source)
            to.write(self._spoil(frame, await self._frame(source)) if b'"seq":50,"time"' in frame else frame)

    async def _frame(self, source: asyncio.StreamReader) -> bytes:
        head = await source.readexactly(2)
        more = {126: 2, 127: 8}.get(head[1], 0)
        head += await source.readexactly(more)
        return head + await source.readexactly(int.from_bytes(head[2:]) if more else head[1])


@pytest.mark.parametrize(
    ("spoil", "faults"),
    [
        (lambda frame, following: following, (1, 0, 0)),
        (lambda frame, following: frame + frame + following, (0, 1, 0)),
        (lambda frame, following: following + frame, (0, 0, 1)),
    ],
    ids=["lost", "repeated", "out of order"],
)
def test_one_incorrect_delivery_ends_with_exit_code_1(
    bench: Bench, server: ServerProcess, spoil: Callable[[bytes, bytes], bytes], faults: tuple[int, int, int]
) -> None:
    with Line(server.port, spoil).running() as url:
        report = bench.json("--server", url, "--subs", "4", "--pubs", "1", "--messages", "200", status=1)
    assert (report["lost"], report["repeated"], report["out_of_order"]) == faults
    assert report["complete"]
