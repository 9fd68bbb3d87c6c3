"""Reading over HTTP: the list of rooms, and pages of messages with cursors, filters and gaps."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from raw_client import Answer, call, eventually, get, publish
from serving import ServerProcess, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("http") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


def fill(server: ServerProcess, room: str, count: int) -> None:
    for number in range(1, count + 1):
        assert publish(server, room, f"m{number}").status == 201


def seqs(answer: Answer) -> list[int]:
    assert answer.status == 200, answer
    return [message["seq"] for message in answer.json["messages"]]


# Rooms


def test_rooms_are_listed_by_name_with_their_positions(server: ServerProcess) -> None:
    fill(server, "list-b", 2)
    fill(server, "list-a", 1)
    rooms = [room for room in get(server, "/rooms").json["rooms"] if room["room"].startswith("list-")]
    assert [room["room"] for room in rooms] == ["list-a", "list-b"]
    assert set(rooms[1]) == {"room", "first", "last", "cursor", "members", "time"}
    assert (rooms[1]["first"], rooms[1]["last"], rooms[1]["members"]) == (1, 2, 0)
    assert rooms[1] == get(server, "/rooms/list-b").json


def test_a_room_without_messages_is_empty_and_not_listed(server: ServerProcess) -> None:
    room = get(server, "/rooms/never").json
    assert (room["first"], room["last"], room["members"]) == (1, 0, 0)
    assert get(server, "/rooms/never/messages").json["messages"] == []
    assert get(server, "/rooms/never/members").json == {"members": [], "count": 0}
    assert "never" not in [room["room"] for room in get(server, "/rooms").json["rooms"]]


# Pages


def test_a_page_has_the_newest_messages_in_order(server: ServerProcess) -> None:
    fill(server, "past", 12)
    assert seqs(get(server, "/rooms/past/messages?limit=3")) == [10, 11, 12]
    page = get(server, "/rooms/past/messages").json
    assert [message["seq"] for message in page["messages"]] == list(range(1, 13))
    assert (page["first"], page["last"], page["complete"]) == (1, 12, True)
    assert "gap" not in page


def test_before_and_after_page_through_the_room(server: ServerProcess) -> None:
    fill(server, "walk", 7)
    older = get(server, "/rooms/walk/messages?before=6&limit=3")
    assert seqs(older) == [3, 4, 5]
    assert older.json["complete"] is False
    assert seqs(get(server, "/rooms/walk/messages?before=3&limit=3")) == [1, 2]
    assert get(server, "/rooms/walk/messages?before=3&limit=3").json["complete"] is True
    assert seqs(get(server, "/rooms/walk/messages?after=2&before=5")) == [3, 4]
    assert seqs(get(server, "/rooms/walk/messages?after=0&limit=2")) == [1, 2]


def test_polling_with_a_cursor_misses_and_repeats_nothing(server: ServerProcess) -> None:
    seen: list[int] = []
    cursor = get(server, "/rooms/poll/messages").json["cursor"]
    for _ in range(3):
        fill(server, "poll", 5)
        while True:
            page = get(server, f"/rooms/poll/messages?after={cursor}&limit=2").json
            seen += [message["seq"] for message in page["messages"]]
            cursor = page["cursor"]
            if page["complete"]:
                break
    assert seen == list(range(1, 16))
    assert get(server, f"/rooms/poll/messages?after={cursor}").json["messages"] == []


def test_messages_are_found_by_text_sender_and_time(server: ServerProcess) -> None:
    for sender, body in (("ann", "Red apple"), ("bob", "green PEAR 100%"), ("ann", "blue plum"), ("cat", "STRASSE")):
        call(server, "POST", f"/rooms/find/messages?name={sender}", body)
    messages = get(server, "/rooms/find/messages").json["messages"]
    assert seqs(get(server, "/rooms/find/messages?search=pear")) == [2]
    assert seqs(get(server, "/rooms/find/messages?search=0%25")) == [2]
    assert seqs(get(server, "/rooms/find/messages?search=_")) == []
    assert seqs(get(server, "/rooms/find/messages?sender=ann")) == [1, 3]
    assert seqs(get(server, "/rooms/find/messages?sender=ann&search=PLUM")) == [3]
    assert seqs(get(server, f"/rooms/find/messages?since={messages[0]['time']}")) == [1, 2, 3, 4]
    assert seqs(get(server, f"/rooms/find/messages?until={messages[0]['time']}")) == []
    assert seqs(get(server, "/rooms/find/messages?since=2000-01-01T00:00:00+01:00&until=2001-01-01")) == []


def without_cursors(lines: list[bytes]) -> list[dict[str, Any]]:
    """Read lines of JSON, and remove from each the cursor, which messages in a page do not have."""
    found = [json.loads(line) for line in lines]
    assert all(line.pop("cursor") for line in found)
    return found


def test_accept_ndjson_returns_a_message_per_line(server: ServerProcess) -> None:
    fill(server, "lines", 3)
    answer = get(server, "/rooms/lines/messages", Accept="application/x-ndjson")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = answer.body.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]
    assert b'"seq":1' in lines[0]
    assert without_cursors(lines) == get(server, "/rooms/lines/messages").json["messages"]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("limit=0", (400, "bad-request")),
        ("limit=-1", (400, "bad-request")),
        ("limit=1001", (400, "bad-request")),
        ("limit=many", (400, "bad-request")),
        ("after=garbage", (400, "bad-cursor")),
        ("before=a:b:c", (400, "bad-cursor")),
        ("after=-1", (400, "bad-cursor")),
        ("since=yesterday", (400, "bad-request")),
        ("until=9999999999", (400, "bad-request")),
        ("sender=%07", (400, "bad-sender")),
    ],
)
def test_an_invalid_query_is_refused_with_a_code(server: ServerProcess, query: str, problem: tuple[int, str]) -> None:
    assert get(server, f"/rooms/ops/messages?{query}").problem == problem


def test_a_wrong_parameter_is_described_in_plain_words(server: ServerProcess) -> None:
    details = [get(server, f"/rooms/ops/messages?{query}").json["detail"] for query in ("limit=many", "limit=0")]
    assert details == ["limit must be a whole number", "limit must be a whole number of at least 1"]


def test_an_empty_filter_is_as_none(server: ServerProcess) -> None:
    fill(server, "blank", 2)
    assert seqs(get(server, "/rooms/blank/messages?sender=&search=&since=&until=")) == [1, 2]


def test_a_huge_number_is_a_valid_position(server: ServerProcess) -> None:
    fill(server, "huge", 2)
    huge = "9" * 40
    assert seqs(get(server, f"/rooms/huge/messages?after={huge}")) == []
    assert seqs(get(server, f"/rooms/huge/messages?before={huge}")) == [1, 2]


def test_a_cursor_of_another_epoch_gives_a_gap_and_every_message(server: ServerProcess) -> None:
    fill(server, "lives", 2)
    page = get(server, "/rooms/lives/messages?after=other1:40").json
    assert page["gap"] == {"after": 40, "before": 1, "reason": "epoch"}
    assert [message["seq"] for message in page["messages"]] == [1, 2]
    ahead = get(server, "/rooms/lives").json["cursor"].replace(":2", ":99")
    assert get(server, f"/rooms/lives/messages?after={ahead}").json["gap"]["reason"] == "epoch"
    lines = get(server, "/rooms/lives/messages?after=other1:40", Accept="Application/X-NDJSON").body.splitlines()
    assert without_cursors(lines) == [page["gap"], *page["messages"]]


def test_messages_removed_by_retention_are_reported_as_a_gap(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serve(tmp_path_factory.mktemp("trim") / "rooms.db", "--rate-limit", "0") as server:
        fill(server, "trim", 9)
        cursor = get(server, "/rooms/trim/messages?after=0&limit=2").json["cursor"]
        server.stop()
        server._options = ("--keep", "3")
        server.start()
        eventually(lambda: get(server, "/rooms/trim").json["first"] == 7)
        page = get(server, f"/rooms/trim/messages?after={cursor}").json
        assert page["gap"] == {"after": 2, "before": 7, "reason": "trimmed"}
        assert [message["seq"] for message in page["messages"]] == [7, 8, 9]
        assert publish(server, "trim", "next").json["seq"] == 10
