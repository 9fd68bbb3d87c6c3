"""Workers that are killed, paused or restarted: clients lose no message, and an application is started again."""

import asyncio
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from raw_client import call, eventually, run, whole_room
from serving import ServerProcess
from worker_group import FOLLOWERS, WorkerConnection, WorkerGroup

from chatkit.client import Client
from chatkit.core.model import Message

pytest_plugins = ["worker_fixtures"]


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
    def scrape_both(connection: WorkerConnection, name: str) -> dict[str, float]:
        """Scrape until both are shown: a worker that needs more than a second is left out, also if it is only slow."""
        while len(found := scrape(connection, name)) < 2:
            pass
        return found

    def scrape(connection: WorkerConnection, name: str) -> dict[str, float]:
        connection.request("GET", "/metrics")
        families = text_string_to_metric_families(connection.getresponse().read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {sample.labels["worker"]: sample.value for sample in samples}

    with two.connect_to_each() as connections:
        first, second = connections.values()
        for connection in (first, second, second):
            connection.ask("POST", "/rooms/ops/messages", "hi")
        published = scrape_both(first, "chatkit_messages_published_total")
        assert published.keys() == {"0", "1"}
        assert sorted(published.values()) == [1, 2]
        assert scrape_both(second, "chatkit_messages_published_total") == published
        paused = next(iter(connections))
        os.kill(paused, signal.SIGSTOP)
        try:
            assert sorted(scrape(second, "chatkit_worker_up").values()) == [0, 1]
            assert list(scrape(second, "chatkit_messages_published_total").values()) == [2]
        finally:
            os.kill(paused, signal.SIGCONT)
        eventually(lambda: list(scrape(second, "chatkit_worker_up").values()) == [1, 1])


# An application


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


def test_after_a_failed_restart_the_old_workers_continue(application: WorkerGroup, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    before = application.pids
    application.server.signal(signal.SIGHUP)
    eventually(lambda: "the restart was stopped, and the old workers continue: some:app" in application.server.log)
    assert application.pids == before
    assert call(application.server, "GET", "/").status == 200
