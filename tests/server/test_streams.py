"""Room streams over HTTP: where they start, how they resume, and that they are cleaned up."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from raw_client import Lines, call, eventually, health, publish, run, stream
from serving import ServerProcess, serve

from chatkit.backends.memory import MemoryBackend
from chatkit.backends.sqlite import SqliteBackend
from chatkit.core.access import Identity
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Message
from chatkit.core.page_cache import PAGE_MESSAGES
from chatkit.server import streams
from chatkit.server.streams import EVENT_STREAM, JSON_LINES, SLICE_BYTES, StreamFormat
from chatkit.server.streams import stream as stream_of
from chatkit.session.context import StartPosition

GUEST = Identity("ann")

NDJSON = "Accept: application/x-ndjson"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("events") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


def fill(server: ServerProcess, room: str, first: int, last: int) -> None:
    for number in range(first, last + 1):
        assert publish(server, room, f"m{number}").json["seq"] == number


def next_events(lines: Lines, count: int) -> list[dict[str, str]]:
    """Read the next `count` events, without heartbeats."""
    found = (event for event in lines.events() if event.get("event") != "ping")
    return list(islice(found, count))


def json_lines(lines: Lines) -> Iterator[dict[str, Any]]:
    """Iterate over the lines, without heartbeats."""
    return (line for line in map(json.loads, iter(lines.next, None)) if line.get("type") != "ping")


def seqs(found: list[dict[str, str]]) -> list[int]:
    return [json.loads(event["data"])["seq"] for event in found]


def test_the_headers_declare_an_event_stream_that_is_not_cached(server: ServerProcess) -> None:
    with stream(server, "/rooms/head/events") as lines:
        assert lines.head.startswith(b"HTTP/1.1 200 ")
        head = lines.head.lower()
        assert b"content-type: text/event-stream" in head
        assert b"cache-control: no-store" in head
        assert lines.next() == "retry: 1000"


def test_a_stream_starts_with_the_newest_messages_and_continues_live(server: ServerProcess) -> None:
    fill(server, "live", 1, 12)
    with stream(server, "/rooms/live/events") as lines:
        assert seqs(next_events(lines, 10)) == list(range(3, 13))
        fill(server, "live", 13, 15)
        found = next_events(lines, 3)
        assert seqs(found) == [13, 14, 15]
        assert set(found[0]) == {"id", "data"}
        assert (
            json.loads(found[0]["data"])
            == call(server, "GET", "/rooms/live/messages?after=12&limit=1").json["messages"][0]
        )


@pytest.mark.parametrize(("history", "expected"), [("0", [5]), ("2", [3, 4, 5]), ("999", [1, 2, 3, 4, 5])])
def test_history_sets_how_many_messages_a_stream_starts_with(
    server: ServerProcess, history: str, expected: list[int]
) -> None:
    room = f"history-{history}"
    fill(server, room, 1, 4)
    with stream(server, f"/rooms/{room}/events?history={history}") as lines:
        assert lines.next() == "retry: 1000"  # the stream is open: it delivers everything that is published from now on
        fill(server, room, 5, 5)
        assert seqs(next_events(lines, len(expected))) == expected


@pytest.mark.parametrize("by", ["header", "query", "both"])
def test_a_stream_resumes_after_the_last_event_id(server: ServerProcess, by: str) -> None:
    room = f"resume-{by}"
    fill(server, room, 1, 5)
    with stream(server, f"/rooms/{room}/events?history=5") as lines:
        cursors = [event["id"] for event in next_events(lines, 5)]
    fill(server, room, 6, 8)
    query = f"?after={cursors[1]}" if by != "header" else ""
    # EventSource reconnects with its original URL, so the header is newer than the query.
    headers = [f"Last-Event-ID: {cursors[3]}"] if by != "query" else []
    with stream(server, f"/rooms/{room}/events{query}", *headers) as lines:
        expected = [3, 4, 5, 6, 7, 8] if by == "query" else [5, 6, 7, 8]
        assert seqs(next_events(lines, len(expected))) == expected


def test_lines_of_json_carry_the_same_messages(server: ServerProcess) -> None:
    fill(server, "lines", 1, 3)
    with stream(server, "/rooms/lines/events?history=2", NDJSON) as lines:
        assert b"content-type: application/x-ndjson" in lines.head.lower()
        messages = json_lines(lines)
        assert [next(messages)["seq"] for _ in range(2)] == [2, 3]
        fill(server, "lines", 4, 4)
        assert next(messages)["body"] == "m4"


def test_every_line_of_json_has_the_cursor_to_resume_from(server: ServerProcess) -> None:
    fill(server, "cursors", 1, 3)
    with stream(server, "/rooms/cursors/events?history=2", NDJSON) as lines:
        opening = json.loads(lines.next())
        assert opening["type"] == "ping"
        found = [opening, *(json.loads(lines.next()) for _ in range(2))]
    for n_read, line in enumerate(found, 1):
        with stream(server, f"/rooms/cursors/events?after={line['cursor']}", NDJSON) as lines:
            fill(server, "cursors", 3 + n_read, 3 + n_read)
            assert next(json_lines(lines))["seq"] == n_read + 1
    page = call(server, "GET", "/rooms/cursors/messages", Accept="application/x-ndjson").body.splitlines()
    epoch = found[0]["cursor"].partition(":")[0]
    assert [json.loads(line)["cursor"] for line in page] == [f"{epoch}:{seq}" for seq in range(1, len(page) + 1)]


def test_the_first_event_of_a_stream_has_the_start_as_its_id(server: ServerProcess) -> None:
    fill(server, "opening", 1, 3)
    with stream(server, "/rooms/opening/events?history=2") as lines:
        opening = next(lines.events())
        epoch, _, seq = opening["id"].partition(":")
        assert (opening["retry"], opening["event"], seq) == ("1000", "ping", "1")
        assert json.loads(opening["data"]) == {"type": "ping", "cursor": f"{epoch}:1"}
    with stream(server, "/rooms/opening/events", f"Last-Event-ID: {opening['id']}") as lines:
        assert seqs(next_events(lines, 2)) == [2, 3]


@pytest.mark.parametrize("form", [EVENT_STREAM, JSON_LINES])
def test_a_silent_stream_has_a_heartbeat_with_its_cursor(form: StreamFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(streams, "HEARTBEAT_S", 0.001)
        async with MemoryBackend() as backend, Hub(backend) as hub:
            receipt = await hub.publish(Draft("quiet", "ann", "x"))
            async with aclosing(stream_of(hub, GUEST, "quiet", StartPosition(history=1), form)) as room:
                parts = [await anext(room) for _ in range(5)]
            beats = [json.loads(line) for line in data_of(parts) if b'"ping"' in line]
            assert beats[-2:] == [{"type": "ping", "cursor": str(receipt.message.cursor)}] * 2

    run(test())


def test_a_cursor_of_another_epoch_gives_a_gap_whose_id_can_be_resumed_from(server: ServerProcess) -> None:
    fill(server, "gap", 1, 2)
    with stream(server, "/rooms/gap/events?after=other1:40") as lines:
        gap, *rest = next_events(lines, 3)
    assert gap["event"] == "gap"
    assert json.loads(gap["data"]) == {"after": 40, "before": 1, "reason": "epoch"}
    assert seqs(rest) == [1, 2]
    with stream(server, "/rooms/gap/events", f"Last-Event-ID: {gap['id']}") as lines:
        assert seqs(next_events(lines, 2)) == [1, 2]
    with stream(server, "/rooms/gap/events?after=other1:40", NDJSON) as lines:
        line = next(json_lines(lines))
        assert line == {"after": 40, "before": 1, "reason": "epoch", "cursor": gap["id"]}


def test_messages_removed_by_retention_are_reported_as_a_gap_first(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serve("memory://?keep=5", "--rate-limit", "0", folder=tmp_path_factory.mktemp("trim")) as server:
        fill(server, "trim", 1, 12)
        epoch = call(server, "GET", "/rooms/trim").json["cursor"].partition(":")[0]
        with stream(server, f"/rooms/trim/events?after={epoch}:2") as lines:
            gap, *rest = next_events(lines, 6)
            assert json.loads(gap["data"]) == {"after": 2, "before": 8, "reason": "trimmed"}
            assert seqs(rest) == [8, 9, 10, 11, 12]
        with stream(server, "/rooms/trim/events?history=100") as lines:
            assert seqs(next_events(lines, 5)) == [8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/rooms/ops/events?after=garbage", (400, "bad-cursor")),
        ("/rooms/ops/events?history=-1", (400, "bad-request")),
        ("/rooms/ops/events?history=many", (400, "bad-request")),
        ("/rooms/a%20b/events", (400, "bad-room")),
        ("/rooms/.x/events", (404, "not-found")),
    ],
)
def test_an_invalid_request_is_refused_before_the_stream_starts(
    server: ServerProcess, path: str, problem: tuple[int, str]
) -> None:
    assert call(server, "GET", path).problem == problem
    assert call(server, "GET", path, Accept="application/x-ndjson").problem == problem


def test_a_body_of_many_lines_is_one_event(server: ServerProcess) -> None:
    body = "a\nb\r\n\ndata: c\nid: 7"
    publish(server, "multi", body)
    with stream(server, "/rooms/multi/events") as lines:
        assert json.loads(next_events(lines, 1)[0]["data"])["body"] == body


@pytest.mark.parametrize("form", [EVENT_STREAM, JSON_LINES])
def test_a_stalled_reader_costs_at_most_a_slice_of_memory(form: StreamFormat) -> None:
    async def test() -> None:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            sizes = [100, 40_000, 40_000, 65_536, *[10] * 200, *[60_000] * 100]
            await asyncio.gather(*(hub.publish(Draft("large", "ann", "x" * size)) for size in sizes))
            parts: list[bytes] = []
            async with aclosing(stream_of(hub, GUEST, "large", StartPosition(history=1_000), form)) as room:
                while b"".join(parts[-2:]).count(b'"seq":%d,' % len(sizes)) == 0:
                    parts.append(await anext(room))
            assert [len(body) for body in bodies_of(parts)] == sizes
            assert max(map(len, parts)) < 2 * SLICE_BYTES
            assert len(parts) < len(sizes)

    run(test())


@pytest.mark.parametrize("form", [EVENT_STREAM, JSON_LINES])
def test_an_event_is_encoded_once_for_all_readers_of_its_format(form: StreamFormat) -> None:
    n_encoded = 0

    def count(message: Message) -> bytes:
        nonlocal n_encoded
        n_encoded += 1
        return form.message(message)

    async def read(hub: Hub, counted: StreamFormat) -> int:
        async with aclosing(stream_of(hub, GUEST, "busy", StartPosition(history=5), counted)) as room:
            parts = [await anext(room)]
            while len(bodies_of(parts)) < 25:
                parts.append(await anext(room))
            return len(bodies_of(parts))

    async def test() -> None:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            counted = replace(form, message=count)
            for _ in range(5):
                await hub.publish(Draft("busy", "ann", "before"))
            readers = [asyncio.ensure_future(read(hub, counted)) for _ in range(20)]
            for _ in range(20):
                await hub.publish(Draft("busy", "ann", "after"))
            assert await asyncio.gather(*readers) == [25] * 20

    run(test())
    assert n_encoded == 25


@pytest.mark.parametrize("form", [EVENT_STREAM, JSON_LINES])
def test_a_stream_that_catches_up_lets_other_tasks_run(form: StreamFormat, tmp_path: Path) -> None:
    n_turns = 0

    async def count_turns() -> None:
        nonlocal n_turns
        while True:
            await asyncio.sleep(0)
            n_turns += 1

    async def test() -> None:
        async with SqliteBackend(tmp_path / "rooms.db") as backend, Hub(backend) as hub:
            await backend.append([Draft("long", "ann", "x")] * 6 * PAGE_MESSAGES)
            start = StartPosition((await hub.history("long", before=1)).cursor)
            for _ in range(2):  # the second time, everything is in memory
                async with aclosing(stream_of(hub, GUEST, "long", start, form)) as room:
                    parts = [await anext(room)]
                    counting, n_before = asyncio.ensure_future(count_turns()), n_turns
                    while len(bodies_of(parts)) < 6 * PAGE_MESSAGES:
                        parts.append(await anext(room))
                    counting.cancel()
            assert n_turns - n_before >= 4

    run(test())


@pytest.mark.parametrize("form", [EVENT_STREAM, JSON_LINES])
def test_a_page_that_was_loaded_for_a_stream_is_sent_before_it_can_be_dropped(
    form: StreamFormat, tmp_path: Path
) -> None:
    async def test() -> None:
        async with SqliteBackend(tmp_path / "rooms.db") as backend, Hub(backend) as hub:
            await backend.append([Draft("long", "ann", "x")] * 6 * PAGE_MESSAGES)
            start = StartPosition((await hub.history("long", before=1)).cursor)
            async with aclosing(stream_of(hub, GUEST, "long", start, form)) as room:
                assert len(bodies_of([await anext(room) for _ in range(2)])) == PAGE_MESSAGES

    run(test())


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.sampled_from([b"\n", b"\n\n"]))
def test_a_slice_ends_with_an_event(sizes: list[int], end: bytes) -> None:
    events = [b"x" * size + end for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "SLICE_BYTES", 200)
        slices = list(streams._slices(b"".join(events), end))
    assert b"".join(slices) == b"".join(events)
    assert all(part.endswith(end) for part in slices)
    assert all(len(part) <= 200 or part.count(end) == 1 for part in slices)


def data_of(parts: list[bytes]) -> list[bytes]:
    lines = [line.removeprefix(b"data: ") for line in b"".join(parts).splitlines()]
    return [line for line in lines if line.startswith(b"{")]


def bodies_of(parts: list[bytes]) -> list[str]:
    return [json.loads(line)["body"] for line in data_of(parts) if b'"ping"' not in line]


def test_closed_streams_are_cleaned_up(server: ServerProcess) -> None:
    for number in range(30):
        with stream(server, f"/rooms/left-{number}/events") as lines:
            assert lines.next() == "retry: 1000"
            assert health(server)["connections"] >= 1
    eventually(lambda: [health(server)[count] for count in ("connections", "rooms", "subscriptions")] == [0, 0, 0])


def test_streams_count_as_connections(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serve(tmp_path_factory.mktemp("full") / "rooms.db", "--max-connections", "2") as server:
        with stream(server, "/rooms/a/events") as one, stream(server, "/rooms/a/events") as two:
            assert one.next() == two.next() == "retry: 1000"
            assert call(server, "GET", "/rooms/a/events").problem == (503, "unavailable")
            assert publish(server, "a", "over the limit as well").problem == (503, "unavailable")
        eventually(lambda: health(server)["connections"] == 0)
        with stream(server, "/rooms/a/events") as again:
            assert again.next() == "retry: 1000"
