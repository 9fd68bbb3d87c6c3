"""Expensive requests: they are charged for, cancelled when the client disconnects, and bounded in memory."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import turns, until
from litestar.exceptions import ClientException
from raw_client import Talk, call, publish, run
from serving import ServerProcess, serve
from session_host import Host, hosted

from chatkit.core.model import Draft
from chatkit.core.name_range import range_of
from chatkit.core.page_size import MAX_PAGE_BYTES
from chatkit.errors import NotFound
from chatkit.server.disconnect import while_connected
from chatkit.server.long_answer import slices
from chatkit.server.room_list import FEW_ROOMS, EncodedRooms, ReadableRooms, RoomRange
from chatkit.wire.costs import JOIN_COST, LEAVE_COST, PING_COST, REFUSED_COST


class FixedAllowance:
    """A limiter with a fixed allowance that does not grow by itself."""

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def consume(self, _: int) -> float:
        return 0.0

    def charge(self, cost: float) -> float:
        self.amount -= cost
        return 0.0 if self.amount >= 0 else 0.001

    def may_signal(self) -> bool:
        return True


def test_a_client_that_joins_and_leaves_repeatedly_is_paused_until_its_debt_is_paid() -> None:
    async def test(host: Host) -> None:
        allowance = FixedAllowance(2 * JOIN_COST + LEAVE_COST)
        client = await host.json(limiter=allowance)
        await client.ask("join", room="a")
        await client.ask("leave", room="a")
        await client.ask("join", room="a")
        assert client.socket.pauses == 0
        await client.ask("leave", room="a")
        await turns()
        assert client.socket.is_paused
        allowance.amount = 0.0
        await until(lambda: not client.socket.is_paused)

    hosted(test)


@pytest.mark.parametrize("text", [b"{", b'{"op":"shout"}', b'{"op":"join","room":".."}', b'{"op":"members"}'])
def test_a_refused_command_is_charged(text: bytes) -> None:
    async def test(host: Host) -> None:
        allowance = FixedAllowance(100.0)
        client = await host.json(limiter=allowance)
        client.session.received_text(text)
        assert client.socket.of_type("error")
        assert allowance.amount == 100.0 - REFUSED_COST

    hosted(test)


def test_a_refused_text_is_charged_by_its_length() -> None:
    async def test(host: Host) -> None:
        allowance = FixedAllowance(100.0)
        client = await host.text(limiter=allowance)
        client.session.received_text(b"x" * 700_000)
        assert allowance.amount == 100.0 - REFUSED_COST - 10

    hosted(test)


def test_a_ping_is_charged() -> None:
    async def test(host: Host) -> None:
        allowance = FixedAllowance(2 * PING_COST)
        client = await host.json(limiter=allowance)
        for _ in range(3):
            assert client.socket.pauses == 0
            client.send("ping")
        assert client.socket.is_paused

    hosted(test)


def test_the_searches_of_a_client_that_disconnects_are_cancelled() -> None:
    async def test(host: Host) -> None:
        queue = host.context.history_queue
        blocked = host.backend.before["read"] = asyncio.Event()
        clients = [await host.json() for _ in range(20)]
        for client in clients:
            client.send("history", room="ops", search="x", ref=1)
        searches = queue._searches
        await until(lambda: searches.n_waiting == 18)
        for client in clients:
            client.session.closed(1000)
        await until(lambda: (searches.n_running, searches.n_waiting) == (0, 0))
        blocked.set()

    hosted(test)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("expensive") / "rooms.db") as started:
        yield started
        assert "Traceback" not in started.log, started.log


def test_pages_of_the_largest_messages_are_limited_in_bytes_and_lead_to_the_end(server: ServerProcess) -> None:
    bodies = ["\x01" * 65_000 + str(n) for n in range(8)]
    for body in bodies:
        assert publish(server, "large", body).status == 201
    found: list[str] = []
    after: Any = 0
    while True:
        answer = call(server, "GET", f"/rooms/large/messages?after={after}&limit=1000")
        assert len(answer.body) <= MAX_PAGE_BYTES + 1_000
        found += [message["body"] for message in answer.json["messages"]]
        after = answer.json["cursor"]
        if answer.json["complete"]:
            break
    assert found == bodies
    newest = call(server, "GET", "/rooms/large/messages?limit=1000", accept="application/x-ndjson")
    assert 0 < len(newest.body.splitlines()) < 8

    async def test() -> None:
        async with Talk.open(server, "/ws") as talk:
            page = await talk.ask(op="history", room="large", limit=1000, after=0)
            assert not page["complete"]
            assert 0 < len(page["messages"]) < 8

    run(test())


def test_a_search_text_is_limited_in_length(server: ServerProcess) -> None:
    assert call(server, "GET", f"/rooms/ops/messages?search={'x' * 200}").status == 200
    assert call(server, "GET", f"/rooms/ops/messages?search={'x' * 201}").problem == (400, "bad-request")


class PendingRequest:
    """A request whose client can disconnect."""

    def __init__(self) -> None:
        self.has_disconnected = asyncio.Event()
        self.n_received = 0

    async def receive(self) -> dict[str, Any]:
        self.n_received += 1
        if self.n_received == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.has_disconnected.wait()
        return {"type": "http.disconnect"}


def test_work_for_a_request_is_cancelled_when_its_client_disconnects() -> None:
    async def test() -> None:
        request: Any = PendingRequest()
        started, ended = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        waiting = asyncio.ensure_future(while_connected(request, work()))
        await started.wait()
        request.has_disconnected.set()
        with pytest.raises(ClientException):
            await waiting
        assert ended.is_set()

    run(test())


def test_the_result_or_the_error_of_the_work_is_passed_on() -> None:
    async def test() -> None:
        async def done() -> int:
            return 7

        async def fails() -> int:
            raise NotFound("nothing there")

        request: Any = PendingRequest()
        assert await while_connected(request, done()) == 7
        with pytest.raises(NotFound):
            await while_connected(request, fails())

    run(test())


def test_concurrent_requests_share_one_list_of_many_rooms() -> None:
    async def test(host: Host) -> None:
        await host.backend.append([Draft(f"room{n:04}", "ann", "x") for n in range(FEW_ROOMS + 1)])
        rooms = EncodedRooms(host.hub)
        first = await rooms.read()
        names = [view["room"] for view in json.loads(first)["rooms"]]
        assert names == [f"room{n:04}" for n in range(FEW_ROOMS + 1)]
        rooms._fresh_until_s = 0.0
        before = host.backend.calls["rooms"]
        assert set(await asyncio.gather(*(rooms.read() for _ in range(20)))) == {first}
        assert host.backend.calls["rooms"] == before + 1
        assert [part async for part in slices(b"x" * 200_000)] == [b"x" * 65_536] * 3 + [b"x" * 3_392]

    hosted(test)


def test_a_list_of_few_rooms_is_always_current() -> None:
    async def test(host: Host) -> None:
        rooms = EncodedRooms(host.hub)
        for n in range(3):
            await host.backend.append([Draft(f"room{n}", "ann", "x")])
            assert len(json.loads(await rooms.read())["rooms"]) == n + 1

    hosted(test)


def test_a_list_of_rooms_is_read_in_pages_with_the_rooms_that_only_have_members() -> None:
    async def test(host: Host) -> None:
        await host.backend.append([Draft(f"room{n}", "ann", "x") for n in (1, 2, 4, 5, 7)])
        await host.backend.append([Draft(".hidden", "ann", "x")])
        with (
            await host.hub.subscribe("room0", member="ann"),
            await host.hub.subscribe("room3", member="ann"),
            await host.hub.subscribe("room8", member="ann"),
        ):
            rooms = EncodedRooms(host.hub)

            async def page(asked: RoomRange) -> tuple[list[str], bool]:
                listed = json.loads(await rooms.read_some(asked, ReadableRooms(may_read=lambda room: room != "room4")))
                return [view["room"] for view in listed["rooms"]], listed.get("complete", True)

            assert await page(RoomRange(limit=3)) == (["room0", "room1", "room2"], False)
            assert await page(RoomRange(after="room2", limit=3)) == (["room3", "room5", "room7"], False)
            assert await page(RoomRange(after="room7", limit=3)) == (["room8"], True)
            assert await page(RoomRange(after="room5", limit=1)) == (["room7"], False)
            assert await page(RoomRange(prefix="room3")) == (["room3"], True)
            assert await page(RoomRange(prefix="room")) == ([f"room{n}" for n in (0, 1, 2, 3, 5, 7, 8)], True)
            assert await page(RoomRange(prefix="room", after="room5", limit=2)) == (["room7", "room8"], True)
            assert await page(RoomRange(prefix="x")) == ([], True)

    hosted(test)


def test_a_short_page_of_a_client_that_may_read_few_rooms_takes_few_reads_of_the_store() -> None:
    async def test(host: Host) -> None:
        await host.backend.append([Draft(f"room{n:03}", "ann", "x") for n in range(500)])
        rooms = EncodedRooms(host.hub)
        for last, found in (("room499", ["room499"]), ("none", [])):
            host.backend.calls.clear()
            listed = json.loads(await rooms.read_some(RoomRange(limit=1), ReadableRooms(may_read=last.__eq__)))
            assert [view["room"] for view in listed["rooms"]] == found
            assert host.backend.calls["rooms"] <= 2

    hosted(test)


def test_a_page_asks_the_store_only_for_names_that_the_client_may_read() -> None:
    async def test(host: Host) -> None:
        names = [f"room{n:03}" for n in range(50)]
        await host.backend.append([Draft(room, "ann", "x") for room in names])
        rooms = EncodedRooms(host.hub)
        readable = ReadableRooms(
            [range_of(pattern) for pattern in ("a*", "room007", "room02*")], names[1:].__contains__
        )
        for asked, found in (
            (RoomRange(), ["room007", *names[20:30]]),
            (RoomRange(limit=2), ["room007", "room020"]),
            (RoomRange(after="room025"), names[26:30]),
            (RoomRange(prefix="room00"), ["room007"]),
            (RoomRange(prefix="room03"), []),
            (RoomRange(prefix="ro", after="room007", limit=1), ["room020"]),
        ):
            host.backend.calls.clear()
            listed = json.loads(await rooms.read_some(asked, readable))
            assert [view["room"] for view in listed["rooms"]] == found
            assert host.backend.calls["rooms"] <= 3

    hosted(test)


def test_every_room_is_on_one_page() -> None:
    async def test(host: Host) -> None:
        names = [f"room{n:03}" for n in range(300)]
        await host.backend.append([Draft(room, "ann", "x") for room in names])
        rooms, seen = EncodedRooms(host.hub), list[str]()
        while True:
            asked = RoomRange(after=seen[-1] if seen else "", limit=7)
            listed = json.loads(await rooms.read_some(asked, ReadableRooms(may_read=lambda room: room.endswith("1"))))
            seen += [view["room"] for view in listed["rooms"]]
            if listed.get("complete", True):
                break
            assert len(listed["rooms"]) == 7
        assert seen == [room for room in names if room.endswith("1")]

    hosted(test)
