"""Several workers on one address: clients see one server."""

import asyncio
import os
import re
import signal
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import forking
from raw_client import Talk, call, eventually, open_socket, run
from serving import ServerProcess
from websockets.exceptions import ConnectionClosed
from worker_group import FOLLOWERS, WorkerConnection, WorkerGroup, open_on_both, serve_workers

from chatkit.server.settings import BURST_S
from chatkit.server.token_attempts import BURST, REFILL_S

pytest_plugins = ["worker_fixtures"]


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
