"""Two servers on one shared store: what one of them changes of access is in force on the other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import stores
from access_server import ROOT, AccessServer, access_server, grant, json_of, problem, within
from harness import until
from raw_client import run

from chatkit.core.model import Draft

URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/rooms.db",
    "redis": lambda _: stores.redis(),
    "redis-cluster": lambda _: stores.redis_cluster(),
    "postgres": lambda _: stores.postgres(),
}
SOON_S = 10.0  # a change is found within about a second
EVENTS, LINES = "text/event-stream", "application/x-ndjson"
GRANTS = [{"rooms": "ops", "rights": ["read"]}]
WAIT = {"name": "wait_for_messages", "arguments": {"room": "ops", "timeout_s": 30}}


@asynccontextmanager
async def servers(url: str) -> AsyncIterator[tuple[AccessServer, AccessServer]]:
    settings = {"host": "localhost", "secret": "not-used-here", "backend": url}
    async with access_server(**settings) as one, access_server(**settings) as other:
        yield one, other


@pytest.mark.parametrize("kind", URLS)
def test_everything_that_is_open_on_the_other_server_ends(kind: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with servers(URLS[kind](tmp_path)) as (one, other):
            ann = await one.token("ann", grant("ops", "read", "write"))
            await one.hub.publish(Draft("ops", "bob", "hello"))
            await other.hub.refresh_access()
            await other.call("PUT", "/rooms/ops/consumers/own", ann, {"after": "end"})
            async with (
                other.talk("/ws/ops", ann.secret) as talk,
                other.text("/ws/ops", ann.secret) as text,
                other.lines("/rooms/ops/events", ann.secret, EVENTS) as events,
                other.lines("/rooms/ops/events", ann.secret, LINES) as lines,
            ):
                await talk.until("joined")
                taking = asyncio.ensure_future(other.call("POST", "/rooms/ops/consumers/own/take?wait_s=50", ann))
                tool = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": WAIT}
                calling = asyncio.ensure_future(other.call("POST", "/mcp", ann, tool, accept="application/json"))
                await until(lambda: other.hub.counts["subscriptions"] == 6)
                await one.hub.administration.revoke(ROOT, ann.token.id)
                for socket in (talk.socket, text):
                    await within(SOON_S, socket.wait_closed())
                    assert socket.close_code == 4401
                assert "event: unauthorized" in [line async for line in events]
                assert json_of([line async for line in lines if line][-1])["code"] == "unauthorized"
                assert problem(await within(SOON_S, taking)) == (401, "unauthorized")
                result = (await within(SOON_S, calling)).json()["result"]
                assert result["_meta"]["chatkit/code"] == "unauthorized"
            assert await other.code("GET", "/rooms/ops", ann.secret) == "unauthorized"

    run(test())


@pytest.mark.parametrize("kind", URLS)
def test_an_invite_with_one_use_is_redeemed_once_at_the_same_moment(kind: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with servers(URLS[kind](tmp_path)) as (one, other):
            boss = await one.token("boss", grant("*", "admin"))
            await other.hub.refresh_access()
            for round_ in range(5):
                secret = (await one.call("POST", "/invites", boss, {"grants": GRANTS})).json()["secret"]
                answers = await asyncio.gather(
                    *(
                        server.call("POST", "/invites/redeem", None, {"secret": secret, "name": f"{name}{round_}"})
                        for server, name in ((one, "ann"), (other, "bob"))
                    )
                )
                assert sorted(answer.status_code for answer in answers) == [201, 403]
                assert [problem(answer)[1] for answer in answers if answer.is_error] == ["invite-used"]

    run(test())
