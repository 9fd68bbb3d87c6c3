"""A server that alters what it lists: unread messages, mentions, hits, consumers, tokens, bans and webhooks."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import RawServer, answer
from test_hostile_server import MESSAGE, TIME, altered, hostile, outcome, run

from chatkit.cli.listing import read_listing
from chatkit.client import Client, pagination
from chatkit.client.admin import AdminClient
from chatkit.client.endpoint import Endpoint
from chatkit.errors import ChatkitError, Unavailable

LIST = {"messages": [MESSAGE], "complete": False, "cursor": "1:ops:1"}
UNREAD = {"rooms": [{"room": "ops", "marker": 1, "last": 2, "unread": 1, "mentions": 0}]}
CONSUMER = {
    "room": "ops", "name": "c", "owner": "ann", "cursor": "e:1", "lag": 1, "leased": 1, "waiting": 0, "failed": 0,
    "missed": 0, "retries": 5, "ordered": False,
}  # fmt: skip
TAKEN = {"lease": "l", "messages": [MESSAGE], "cursor": "e:1"}
TOKEN = {
    "id": "k3f9x2m4qa", "name": "ann", "kind": "person", "grants": [{"rooms": "*", "rights": ["read"]}],
    "created": TIME, "made_by": "root", "expires": TIME, "uses_left": 1, "last_used": TIME,
}  # fmt: skip
BAN = {"id": "b", "kind": "name", "subject": "eve", "room": "*", "created": TIME, "made_by": "root", "until": TIME}
WEBHOOK = {
    "id": "w", "url": "https://example.org/", "rooms": ["ops"], "events": ["message"], "made_by": "ann",
    "created": TIME, "state": "failing", "failures": 2, "failing_since": TIME, "next_try": TIME, "reason": "no",
}  # fmt: skip
EXCHANGE = {
    "ok": False, "duration_s": 0.1, "request": {"method": "POST", "url": "u", "headers": [], "body": ""},
    "answer": {"status": 500, "headers": [{"name": "a", "value": "b"}], "body": ""}, "error": "no",
}  # fmt: skip
CALLS: list[tuple[Any, Callable[[AdminClient], object]]] = [
    ({"consumers": [CONSUMER]}, lambda client: client.consumers()),
    (CONSUMER, lambda client: client.consumer("ops", "c")),
    (CONSUMER, lambda client: client.ack("ops", "c", "l")),
    (TAKEN, lambda client: client.receive("ops", "c", limit=3, lease_s=1)),
    ({"tokens": [TOKEN]}, lambda client: client.tokens()),
    ({"bans": [BAN]}, lambda client: client.bans()),
    ({"webhooks": [WEBHOOK]}, lambda client: client.webhooks()),
    (EXCHANGE, lambda client: client.test_webhook("w")),
    ({"name": "ann", "grants": []}, lambda client: client.my_name()),
]  # fmt: skip


@hostile
@given(found=altered(LIST), unread=altered(UNREAD), marker=altered({"room": "ops", "seq": 1}))
def test_lists_of_messages_raise_only_errors_of_chatkit(found: Any, unread: Any, marker: Any) -> None:
    documents = {"/mentions": found, "/search": found, "/unread": unread, "/rooms/ops/marker": marker}

    async def test() -> None:
        server = RawServer(lambda head: answer(200, documents[head.split()[1].split("?")[0]]))
        async with server.running(), Client(server.url) as client:
            for call in (client.mentions(), client.search("x"), client.unread(), client.mark("ops", 1)):
                await outcome(call)

    run(test())


@hostile
@given(call=st.sampled_from(CALLS), data=st.data())
def test_lists_of_an_administrator_raise_only_errors_of_chatkit(call: tuple[Any, Any], data: st.DataObject) -> None:
    document = data.draw(altered(call[0]))

    async def test() -> None:
        async with RawServer(lambda _: answer(200, document)).running() as server:
            with AdminClient(Endpoint.parse(server.url)) as client, suppress(ChatkitError):
                await asyncio.to_thread(call[1], client)

    run(test())


def test_a_list_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "MAX_EMPTY_PAGES", 20)
    n_pages = 0

    def respond(head: str) -> bytes:
        nonlocal n_pages
        n_pages += 1
        if "/messages" in head:
            reached = {"reached": n_pages, "cursor": f"e:{10**9}", "first": 1, "last": 10**9}
            return answer(200, {"messages": [], "complete": False, **reached})
        return answer(200, {"messages": [], "complete": False, "cursor": f"{n_pages}:ops:1"})

    async def test() -> None:
        async with RawServer(respond).running() as server, Client(server.url) as client:
            for reading in (read_listing(client.mentions, None), anext(client.scroll("ops", search="x"))):
                with pytest.raises(Unavailable, match="20 pages without a message"):
                    await reading

    run(test())
