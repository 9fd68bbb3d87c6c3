"""The client's calls of consumers: what they send, which of them are repeated, and what they do not accept."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from accepting import accepting
from raw_server import RawServer, answer

from chatkit.client.consumers import ConsumerClient
from chatkit.client.endpoint import Endpoint
from chatkit.core.consumer import Taken
from chatkit.errors import ChatkitError, LeaseExpired, Unavailable

TIME = "2026-11-20T11:47:21.123Z"
MESSAGE = {"room": "ops", "seq": 2, "time": TIME, "sender": "ann", "body": "hi"}
TAKEN = {"lease": "l1", "messages": [MESSAGE], "cursor": "e:2"}
CONSUMER = {
    "room": "ops", "name": "c", "owner": "ann", "cursor": "e:1", "lag": 1, "leased": 1, "waiting": 0, "failed": 0,
    "missed": 0, "retries": 5, "ordered": False,
}  # fmt: skip
PATH = "/rooms/ops/consumers/c"

Call = Callable[[ConsumerClient], Any]

take: Call = lambda client: client.take("ops", "c", limit=2, lease_s=9.5, wait_s=1)  # noqa: E731
REPEATED: list[tuple[Call, str, Any]] = [
    (lambda client: client.put_consumer("ops", "c", after="end"), f"PUT {PATH}?name=ann", CONSUMER),
    (lambda client: client.consumer("ops", "c"), f"GET {PATH}", CONSUMER),
    (lambda client: client.consumers(), "GET /consumers", {"consumers": [CONSUMER]}),
    (lambda client: client.consumers("ops"), "GET /rooms/ops/consumers", {"consumers": [CONSUMER]}),
    (lambda client: client.ack("ops", "c", "l1", [2]), f"POST {PATH}/ack?name=ann", CONSUMER),
    (lambda client: client.retry("ops", "c", "l1", delay_s=3), f"POST {PATH}/retry?name=ann", CONSUMER),
    (lambda client: client.release("ops", "c", "l1"), f"POST {PATH}/release?name=ann", CONSUMER),
    (lambda client: client.extend("ops", "c", "l1", 30), f"POST {PATH}/extend?name=ann", CONSUMER),
    (lambda client: client.my_name(), "GET /me?name=ann", {"name": "ann", "grants": []}),
]
ONCE: list[tuple[Call, str, Any]] = [
    (take, f"POST {PATH}/take?limit=2&lease_s=9.5&wait_s=1&name=ann", TAKEN),
    (lambda client: client.delete_consumer("ops", "a/b"), "DELETE /rooms/ops/consumers/a%2Fb?name=ann", {}),
]


def requests_of(call: Call, reply: bytes, error: type[Exception] | None = None) -> list[str]:
    """Make a call to a server that answers with `reply`, and return the methods and targets that it received."""

    async def test() -> list[str]:
        async with RawServer(lambda _: reply).running() as server:
            endpoint = Endpoint.parse(server.url, "ann", "a-token")
            with ConsumerClient(endpoint) as client, nullcontext() if error is None else pytest.raises(error):
                await asyncio.to_thread(call, client)
            return [head.split(" HTTP/", 1)[0] for head in server.heads]

    return asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize(("call", "target", "body"), [*REPEATED, *ONCE])
def test_a_call_is_one_request(call: Call, target: str, body: Any) -> None:
    assert requests_of(call, answer(200, body)) == [target]


@pytest.mark.parametrize(("call", "target", "body"), ONCE)
def test_a_take_and_a_deletion_are_not_repeated(call: Call, target: str, body: Any) -> None:
    assert requests_of(call, b"", Unavailable) == [target]


@pytest.mark.parametrize(("call", "target", "body"), REPEATED)
def test_other_calls_are_repeated_if_the_connection_breaks(call: Call, target: str, body: Any) -> None:
    assert requests_of(call, b"", Unavailable) == [target] * 3


def test_what_was_taken_has_the_epoch_of_the_cursor() -> None:
    found: list[Taken] = []
    requests_of(lambda client: found.append(take(client)), answer(200, TAKEN))
    requests_of(lambda client: found.append(take(client)), answer(200, {"messages": []}))
    assert [str(message.cursor) for message in found[0].messages] == ["e:2"]
    assert (found[0].lease, found[1]) == ("l1", Taken())


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{**MESSAGE, "room": "dev"}]},
        {"messages": [MESSAGE, MESSAGE]},
        {"messages": [{**MESSAGE, "seq": 3}]},
        {"messages": [{**MESSAGE, "seq": n + 1} for n in range(3)], "cursor": "e:9"},
        {"messages": [{**MESSAGE, "sender": "x" * 5_000}]},
        {"cursor": None},
        {"cursor": "nonsense"},
        {"lease": "x" * 5_000},
        {"gap": {"after": -1, "before": 2, "reason": "trimmed"}},
    ],
)
def test_what_cannot_have_been_taken_is_an_error(change: dict[str, Any]) -> None:
    requests_of(take, answer(200, {**TAKEN, **change}), Unavailable)


@pytest.mark.parametrize("change", [{"cursor": "x"}, {"owner": "x" * 5_000}, {"lag": "many"}])
def test_a_consumer_that_cannot_be_right_is_an_error(change: dict[str, Any]) -> None:
    requests_of(lambda client: client.consumers(), answer(200, {"consumers": [{**CONSUMER, **change}]}), Unavailable)


def test_counts_are_clamped() -> None:
    found: list[Any] = []
    body = {**CONSUMER, "lag": -5, "retries": 2**63}
    requests_of(lambda client: found.append(client.consumer("ops", "c")), answer(200, body))
    assert (found[0].lag, found[0].retries) == (0, 2**53 - 1)


def test_a_lease_that_ran_out_is_an_error_of_its_own() -> None:
    problem = {"code": "lease-expired", "title": "No", "status": 409, "detail": "the lease has run out"}
    requests_of(lambda client: client.ack("ops", "c", "l1"), answer(409, problem), LeaseExpired)


def test_a_call_that_waits_can_be_interrupted() -> None:
    async def test() -> None:
        asked = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await reader.read()
            writer.close()

        async with accepting(serve) as port:
            with ConsumerClient(Endpoint.parse(f"http://127.0.0.1:{port}")) as client:
                waiting = asyncio.ensure_future(asyncio.to_thread(take, client))
                await asked.wait()
                client.interrupt()
                with pytest.raises(ChatkitError):
                    await waiting

    asyncio.run(asyncio.wait_for(test(), 60))
