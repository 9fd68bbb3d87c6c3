"""`POST /mcp` has the checks of every other route, and keeps nothing for a client."""

import asyncio
import json
import sys
from typing import Any

import httpx
import pytest
from access_server import ROOT, AccessServer, access_server, grant, problem, within
from harness import until
from raw_client import run

from chatkit.core.model import Draft
from chatkit.mcp.installation import MISSING
from chatkit.server.app import MAX_REQUEST_BYTES
from chatkit.server.rate_limit import RateLimits

HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def call_of(tool: str, **arguments: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


async def post(server: AccessServer, body: Any, secret: str | None = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    authorization = {"authorization": f"Bearer {secret}"} if secret else {}
    return await server.http.post("/mcp", content=content, headers=HEADERS | authorization | named)


def test_a_request_needs_the_token_the_host_and_the_origin_that_every_route_needs() -> None:
    async def test() -> None:
        async with access_server(host="localhost", secret="eight-or-more") as server:
            helper = await server.token("helper", grant("ops", "read"))
            assert (await post(server, LIST_TOOLS, helper.secret)).status_code == 200
            assert problem(await post(server, LIST_TOOLS)) == (401, "unauthorized")
            assert problem(await post(server, LIST_TOOLS, "ck_wrong")) == (401, "unauthorized")
            for headers in ({"host": "rebind.evil"}, {"origin": "https://evil.example"}):
                assert problem(await post(server, LIST_TOOLS, helper.secret, **headers)) == (403, "forbidden")
            assert problem(await post(server, b"x" * (MAX_REQUEST_BYTES + 1), helper.secret))[0] == 413
            for method in ("GET", "DELETE"):  # there are no streams and no sessions
                answer = await server.call(method, "/mcp", helper)
                assert (problem(answer)[0], answer.headers["allow"]) == (405, "OPTIONS, POST")
            await server.hub.administration.revoke(ROOT, helper.token.id)
            assert problem(await post(server, LIST_TOOLS, helper.secret)) == (401, "unauthorized")

    run(test())


def test_requests_that_are_not_of_the_protocol_are_refused() -> None:
    async def test() -> None:
        async with access_server() as server:
            for body in (b"", b"{", b"[]", b'"x"', b'{"id": 1}', b"\xff", b"[" * 100_000):
                answer = await post(server, body)
                assert answer.status_code == 400
                assert answer.json()["error"]["code"] < 0
            assert (await post(server, LIST_TOOLS, accept="text/html")).status_code == 406
            assert (await post(server, LIST_TOOLS, content_type="text/plain")).status_code == 400
            unknown = (await post(server, LIST_TOOLS | {"method": "tools/forget"})).json()
            assert unknown["error"]["code"] == -32601
            assert (await post(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})).status_code == 202

    run(test())


def test_a_guest_of_an_open_server_has_the_name_of_the_query() -> None:
    async def test() -> None:
        async with access_server() as server:
            await server.http.post(
                "/mcp?name=cat", json=call_of("post_message", room="ops", text="hi"), headers=HEADERS
            )
            (message,) = (await server.hub.history("ops")).messages
            assert (message.sender, message.verified, message.bot) == ("cat", False, False)

    run(test())


def test_messages_of_agents_are_limited_as_those_of_the_api_are() -> None:
    async def test() -> None:
        async with access_server(rate_limit=1) as server:
            server.app.state.admission.rates = RateLimits(1, clock=lambda: 0.0)  # a slow machine would earn more
            for n in range(10):
                answer = await post(server, call_of("post_message", room="ops", text=str(n)))
                assert answer.json()["result"]["isError"] is False
            result = (await post(server, call_of("post_message", room="ops", text="too many"))).json()["result"]
            assert result["_meta"]["chatkit/code"] == "rate-limited"
            assert result["_meta"]["chatkit/retry_after_s"] > 0
            assert result["content"][0]["text"].startswith("rate-limited: ")

    run(test())


def test_a_client_that_disconnects_ends_its_call() -> None:
    async def test() -> None:
        async with access_server() as server:
            await server.http.post("/rooms/ops/messages", content="x")
            call = call_of("wait_for_messages", room="ops", timeout_s=30)
            waiting = asyncio.create_task(post(server, call))
            await until(lambda: server.hub.counts["subscriptions"] == 1)
            assert server.app.state.admission.n_connections == 1
            waiting.cancel()
            await until(lambda: server.hub.counts["subscriptions"] == 0)
            await until(lambda: server.app.state.admission.n_connections == 0)

    run(test())


def test_a_call_that_waits_ends_when_the_server_stops() -> None:
    async def test() -> None:
        async with access_server() as server:
            await server.http.post("/rooms/ops/messages", content="x")
            waiting = asyncio.create_task(post(server, call_of("wait_for_messages", room="ops", timeout_s=30)))
            await until(lambda: server.hub.counts["subscriptions"] == 1)
            server.hub.close_readers()
            assert (await waiting).json()["result"]["structuredContent"]["messages"] == []

    run(test())


@pytest.mark.parametrize("is_ban", [False, True])
def test_a_right_that_is_lost_ends_a_wait(*, is_ban: bool) -> None:
    async def test() -> None:
        async with access_server(host="localhost", secret="eight-or-more") as server:
            helper = await server.token("helper", grant("ops", "read"))
            await server.hub.publish(Draft("ops", "ann", "before"))
            call = call_of("wait_for_messages", room="ops", timeout_s=30)
            waiting = asyncio.create_task(post(server, call, helper.secret))
            await until(lambda: server.hub.counts["subscriptions"] == 1)
            if is_ban:
                await server.moderation.ban(ROOT, "helper", room="ops")
            else:
                await server.hub.administration.revoke(ROOT, helper.token.id)
            result = (await within(10, waiting)).json()["result"]
            assert result["isError"] is True
            assert result["_meta"]["chatkit/code"] == ("banned" if is_ban else "unauthorized")
            await until(lambda: not server.hub.counts["subscriptions"])
            assert not len(server.hub.access.watchers)

    run(test())


def test_a_server_without_the_sdk_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)

    async def test() -> None:
        async with access_server() as server:
            answer = await post(server, LIST_TOOLS)
            assert problem(answer) == (404, "not-found")
            assert answer.json()["detail"] == MISSING
            assert "pip install 'chatkit[mcp]'" in MISSING

    run(test())
