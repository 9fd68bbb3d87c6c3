"""Searches that end before all messages are examined, and long lists of rooms: over HTTP, a socket, and the clients."""

import json

import pytest
from harness import run
from in_process import serve_in_process

from chatkit.client import Client
from chatkit.core import slices
from chatkit.core.model import Message

N_MESSAGES = 50


@pytest.fixture(autouse=True)
def _searches_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SEARCH_S", 0.0)
    monkeypatch.setattr(slices, "FIRST_SLICE", 10)


async def fill(client: Client) -> None:
    for n in range(N_MESSAGES):
        await client.publish("ops", "needle" if n in {3, 44} else "hay")


def test_pages_of_a_search_continue_where_they_ended() -> None:
    async def go() -> None:
        async with serve_in_process() as server, Client(server.url, "ann") as ann:
            await fill(ann)
            first = (await server.call("GET", "/rooms/ops/messages?search=needle")).json
            assert ([each["seq"] for each in first["messages"]], first["complete"], first["reached"]) == (
                [45],
                False,
                41,
            )
            second = (await server.call("GET", "/rooms/ops/messages?search=needle&before=41")).json
            assert (second["messages"], second["complete"], second["reached"]) == ([], False, 31)
            forward = (await server.call("GET", "/rooms/ops/messages?search=needle&after=4")).json
            assert (forward["messages"], forward["reached"], forward["cursor"].split(":")[1]) == ([], 14, "14")
            answer = await server.call("GET", "/rooms/ops/messages?search=needle", Accept="application/x-ndjson")
            hit, reached = map(json.loads, answer.body.splitlines())
            assert (hit["seq"], reached) == (45, {"type": "reached", "seq": 41})
            scrolled = [item async for item in ann.scroll("ops", search="needle")]
            assert [item.seq for item in scrolled if isinstance(item, Message)] == [4, 45]

    run(go())


def test_a_search_of_all_rooms_continues_where_it_ended() -> None:
    async def go() -> None:
        async with serve_in_process() as server, Client(server.url, "ann") as ann:
            await fill(ann)
            for room in ("a", "b", "c"):
                await ann.publish(room, f"needle in {room}")
            found, cursor, n_pages = [], None, 0
            while n_pages == 0 or cursor is not None:
                page = await ann.search("needle", before=cursor)
                found += [(each.room, each.seq) for each in page.messages]
                cursor = page.cursor
                n_pages += 1
                assert n_pages < 50
            assert sorted(found) == [("a", 1), ("b", 1), ("c", 1), ("ops", 4), ("ops", 45)]
            assert n_pages > 4

    run(go())


def test_rooms_are_listed_page_by_page() -> None:
    async def go() -> None:
        async with serve_in_process() as server, Client(server.url, "ann") as ann:
            for n in range(5):
                await ann.publish(f"room{n}", "hi")
            page = (await server.call("GET", "/rooms?limit=2")).json
            assert ([each["room"] for each in page["rooms"]], page["complete"]) == (["room0", "room1"], False)
            page = (await server.call("GET", "/rooms?limit=3&after=room1")).json
            assert ([each["room"] for each in page["rooms"]], page.get("complete")) == (
                ["room2", "room3", "room4"],
                None,
            )
            assert [each.room for each in await ann.rooms("room3")] == ["room3"]
            assert [each.room for each in await ann.rooms()] == [f"room{n}" for n in range(5)]
            for query in ("limit=0", "limit=1001", "after=%00", "prefix=a%00"):
                assert (await server.call("GET", f"/rooms?{query}")).status == 400

    run(go())
