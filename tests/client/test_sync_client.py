"""The client for programs without an event loop, against a real server."""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest
from serving import ServerProcess, clean_environment, free_port, serve

from chatkit.client import Client, Joined, SyncClient
from chatkit.client.outgoing import Outgoing
from chatkit.core.model import Gap, Message
from chatkit.errors import BadBody, BadName, BadReference, NotFound, Unavailable

PATIENCE_S = 60  # bounds a test that would hang


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "0") as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[SyncClient]:
    with SyncClient(server.url, "ann") as opened:
        yield opened


def read(items: Iterator[Message | Gap], count: int) -> list[str]:
    return ["gap" if isinstance(item, Gap) else item.body for item in islice(items, count)]


def test_it_has_the_methods_and_parameters_of_the_asynchronous_client() -> None:
    def parameters(of: type, name: str) -> list[str]:
        return list(inspect.signature(getattr(of, name), follow_wrapped=True).parameters)

    names = {name for name in dir(Client) if not name.startswith("_")} - {"submit", "name"}
    assert names == {name for name in dir(SyncClient) if not name.startswith("_")} - {"close", "name"}
    assert {name for name in names if parameters(Client, name) != parameters(SyncClient, name)} == set()
    assert SyncClient.publish.__doc__ == Client.publish.__doc__


def test_messages_are_published_changed_and_read(client: SyncClient) -> None:
    receipt = client.publish("changes", "deploy?", data={"n": 1})
    assert (receipt.message.seq, receipt.message.sender, client.name) == (1, "ann", "ann")
    client.reply("changes", 1, "yes")
    client.react("changes", 1, "👍")
    client.edit("changes", 2, "yes, now")
    client.redact("changes", 2)
    first, second = client.history("changes").messages
    assert first.state is not None
    assert (first.data, first.state.reactions[0].emoji, second.redacted) == ({"n": 1}, "👍", True)
    assert "changes" in [view.room for view in client.rooms()]
    assert client.mark("changes", 4) == 4
    assert [found.body for found in client.search("deploy").messages] == ["deploy?"]
    assert [each.seq for each in client.scroll("changes", raw=True) if isinstance(each, Message)] == [1, 2, 3, 4, 5]


def test_a_follow_is_an_iterator_and_ends_with_its_loop(client: SyncClient) -> None:
    client.publish("followed", "one")
    items = client.follow("followed", history=1)
    assert read(items, 1) == ["one"]
    assert [member.name for member in client.members("followed")] == ["ann"]
    client.publish("followed", "two")
    assert read(items, 1) == ["two"]
    items.close()
    assert read(client.follow("followed", history=2), 2) == ["one", "two"]
    assert isinstance(next(client.follow("followed", signals=True)), Joined)


def test_many_messages_are_published_while_the_iterable_uses_the_client(client: SyncClient) -> None:
    def messages() -> Iterator[Outgoing]:
        for number in range(1_500):
            if number % 500 == 499:
                client.history("many", limit=1)
            yield str(number), {"n": number}

    assert client.publish_all("many", messages()) == 1_500
    stored = [message for message in client.scroll("many") if isinstance(message, Message)]
    assert [message.data["n"] for message in stored] == list(range(1_500))


def test_publishing_many_stops_at_the_first_that_is_refused(client: SyncClient) -> None:
    with pytest.raises(BadBody):
        client.publish_all("refused", iter(["good", "\ud800", "maybe"]))
    assert client.history("refused", before=2).messages[0].body == "good"


def test_the_messages_of_a_consumer_come_until_they_are_acknowledged(server: ServerProcess) -> None:
    with SyncClient(server.url, "worker") as client:
        client.publish_all("jobs", ["a", "b", "c", "d"])
        with client.consume("jobs", as_="worker", after="start") as messages:
            items = iter(messages)  # kept: to leave the loop before the acknowledgement is a failure
            assert read(items, 2) == ["a", "b"]
            messages.ack()
        with client.consume("jobs", as_="worker") as messages:
            items = iter(messages)
            assert read(items, 1) == ["c"]
            messages.retry("not yet", delay_s=0)
            assert read(items, 1) == ["c"]
        failed = client.consume("jobs", as_="worker")
        assert read(iter(failed), 1) == ["c"]  # the loop was left, so it has failed, and came again after its delay
        failed.close(KeyboardInterrupt())  # is no failure: it is given back, and comes at once
        with client.consume("jobs", as_="worker", retries=5) as messages:
            assert read(iter(messages), 2) == ["c", "d"]


def test_several_threads_use_one_client(client: SyncClient) -> None:
    def publish(thread: int) -> None:
        for number in range(20):
            client.publish("threads", f"{thread}:{number}")
            client.history("threads", limit=1)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(publish, range(4)))
    bodies = [message.body for message in client.history("threads", limit=100).messages]
    assert [[body for body in bodies if body.startswith(f"{thread}:")] for thread in range(4)] == [
        [f"{thread}:{number}" for number in range(20)] for thread in range(4)
    ]


def test_errors_are_those_of_the_asynchronous_client(client: SyncClient) -> None:
    with pytest.raises(BadName):
        client.publish("no room", "x")
    with pytest.raises(BadName):
        next(client.follow("no room"))
    with pytest.raises(BadReference):
        client.reply("empty", 7, "x")
    with pytest.raises(NotFound):
        client.redact("empty", 7)
    with SyncClient(f"http://127.0.0.1:{free_port()}") as lost:
        with pytest.raises(Unavailable):
            lost.publish("ops", "x")
        with pytest.raises(Unavailable):
            lost.rooms()


def test_closing_ends_a_follow_in_another_thread_and_all_later_calls(server: ServerProcess) -> None:
    client = SyncClient(server.url, "bob")
    client.publish("closed", "one")
    has_read = threading.Event()

    def follow() -> None:
        for _ in client.follow("closed"):
            has_read.set()

    with ThreadPoolExecutor() as threads:
        following = threads.submit(follow)
        assert has_read.wait(PATIENCE_S)
        client.close()
        assert isinstance(following.exception(PATIENCE_S), Unavailable)
    with pytest.raises(Unavailable, match="was closed"):
        client.publish("closed", "two")
    with pytest.raises(Unavailable, match="was closed"):
        client.history("closed")


def test_ctrl_c_ends_a_call_that_waits(server: ServerProcess, client: SyncClient) -> None:
    client.publish("interrupted", "one")

    def interrupt() -> None:
        with SyncClient(server.url) as other:
            other.publish("interrupted", "two")
        os.kill(os.getpid(), signal.SIGINT)

    items = client.follow("interrupted", history=1)
    assert read(items, 1) == ["one"]
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        read(items, 3)
    thread.join()
    assert client.publish("interrupted", "three").message.seq == 3


def test_ctrl_c_ends_a_call_over_http_to_a_server_that_does_not_answer(
    server: ServerProcess, client: SyncClient
) -> None:
    client.publish("stalled", "one")
    thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))

    def read_until_interrupted() -> None:
        thread.start()
        client.history("stalled")

    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(KeyboardInterrupt):
            read_until_interrupted()
    finally:
        server.signal(signal.SIGCONT)
    thread.join()
    assert read(iter(client.history("stalled").messages), 1) == ["one"]


FORGOTTEN = """
import sys
from chatkit.client import SyncClient

client = SyncClient(sys.argv[1], "eve")
client.publish("forgotten", "one")
items = client.follow("forgotten", history=1)
print(next(items).body, client.history("forgotten").cursor.seq)
"""


def test_a_client_that_is_not_closed_ends_with_the_program(server: ServerProcess, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORGOTTEN, server.url],
        capture_output=True, text=True, cwd=tmp_path, env=clean_environment({}), timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "one 1\n", "")


def test_a_client_that_is_not_referred_to_is_closed(server: ServerProcess) -> None:
    client = SyncClient(server.url, "eve")
    client.publish("collected", "one")
    thread = client._loop._thread
    assert thread is not None
    del client
    assert not thread.is_alive()


def test_it_does_not_need_an_event_loop_to_read(server: ServerProcess) -> None:
    with SyncClient(server.url) as client:
        client.rooms()
        assert client._loop._thread is None


def test_an_event_loop_may_run_in_the_calling_thread(server: ServerProcess) -> None:
    async def test() -> int:
        with SyncClient(server.url) as client:
            return client.publish("nested", "x").message.seq

    assert asyncio.run(test()) == 1
