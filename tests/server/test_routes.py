"""The HTTP API, tested with requests to a real server."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from raw_client import Answer, call, eventually, health, publish, raw, read_all
from serving import ServerProcess, serve

JSON = "application/json"
REQUIRED = {"room", "seq", "time", "sender", "body"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("http") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


def get(server: ServerProcess, path: str, **headers: str) -> Answer:
    return call(server, "GET", path, **headers)


def fill(server: ServerProcess, room: str, count: int) -> None:
    for number in range(1, count + 1):
        assert publish(server, room, f"m{number}").status == 201


def seqs(answer: Answer) -> list[int]:
    assert answer.status == 200, answer
    return [message["seq"] for message in answer.json["messages"]]


# Publishing


def test_publishing_json_returns_the_message(server: ServerProcess) -> None:
    answer = publish(server, "json", "hi\nthere", data={"n": [1, None]}, key="k1")
    message = answer.json
    assert answer.status == 201
    assert answer.headers["content-type"] == JSON
    assert message.pop("time").endswith("Z")
    assert message == {
        "room": "json", "seq": 1, "sender": "anonymous", "body": "hi\nthere", "data": {"n": [1, None]}, "key": "k1",
    }  # fmt: skip


def test_empty_fields_are_left_out(server: ServerProcess) -> None:
    assert set(publish(server, "lean", "hi").json) == REQUIRED


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "text/plain; charset=utf-8", "application/octet-stream"],
)
def test_a_body_of_any_other_type_is_the_text_itself(server: ServerProcess, content_type: str) -> None:
    body = "backup done & 100% =+ \u00e9\n{}"
    answer = call(server, "POST", "/rooms/raw/messages", body, Content_Type=content_type)
    assert answer.status == 201
    assert answer.json["body"] == body


def test_a_body_without_a_type_is_the_text_itself(server: ServerProcess) -> None:
    assert call(server, "POST", "/rooms/raw/messages", "bare").json["body"] == "bare"


def test_json_with_a_charset_is_json(server: ServerProcess) -> None:
    answer = call(server, "POST", "/rooms/raw/messages", '{"body":"x"}', Content_Type="application/json; charset=utf-8")
    assert answer.json["body"] == "x"


def test_concurrent_publishes_with_one_key_store_one_message(server: ServerProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        posts = [
            pool.submit(call, server, "POST", "/rooms/race/messages", "one text", Idempotency_Key="one")
            for _ in range(40)
        ]
        answers = [post.result() for post in posts]
    assert sorted(answer.status for answer in answers) == [200] * 39 + [201]
    assert len({answer.body for answer in answers}) == 1


@pytest.mark.parametrize(
    "body", ["\x00", "a\x00b", "\x1b[2J", "\u202e", "\U0001f600", "\ufeffx", "\u2028", " ", "\r\n"]
)
def test_every_text_is_stored_unchanged(server: ServerProcess, body: str) -> None:
    seq = call(server, "POST", "/rooms/texts/messages", body).json["seq"]
    assert publish(server, "texts", body).json["seq"] == seq + 1
    page = get(server, f"/rooms/texts/messages?after={seq - 1}").json["messages"]
    assert [message["body"] for message in page] == [body, body]


@pytest.mark.parametrize("name", ["ann", "123", "true", "null", "1.50", "\u00e9a"])
def test_the_sender_is_the_name_in_the_query(server: ServerProcess, name: str) -> None:
    assert call(server, "POST", f"/rooms/names/messages?name={quote(name)}", "x").json["sender"] == name


@pytest.mark.parametrize("room", ["123", "007", "Ops", "ops", "\u0440\u0443\u0441", "a.b-c_d"])
def test_room_names_are_kept_as_given(server: ServerProcess, room: str) -> None:
    assert call(server, "POST", f"/rooms/{quote(room)}/messages", "x").json["room"] == room
    assert get(server, f"/rooms/{quote(room)}").json["last"] == 1


def test_publishing_again_with_a_key_returns_the_stored_message(server: ServerProcess) -> None:
    first = call(server, "POST", "/rooms/keys/messages", "one", Idempotency_Key="a")
    again = call(server, "POST", "/rooms/keys/messages", "one", Idempotency_Key="a")
    in_body = publish(server, "keys", "one", key="a")
    assert [first.status, again.status, in_body.status] == [201, 200, 200]
    assert first.json == again.json == in_body.json
    assert get(server, "/rooms/keys").json["last"] == 1


def test_keys_are_separate_for_each_sender(server: ServerProcess) -> None:
    answers = [call(server, "POST", f"/rooms/own/messages?name={name}", name, Idempotency_Key="a") for name in "xyx"]
    assert [(answer.status, answer.json["body"]) for answer in answers] == [(201, "x"), (201, "y"), (200, "x")]


def test_other_content_with_a_known_key_is_a_conflict(server: ServerProcess) -> None:
    assert publish(server, "conflict", "one", key="a").status == 201
    for body, data in [("two", None), ("one", {"n": 1})]:
        answer = publish(server, "conflict", body, data=data, key="a")
        assert (answer.status, answer.json["code"], answer.json["title"]) == (409, "key-conflict", "Conflict")
        assert answer.json["detail"] == "another message of this sender in this room has the key 'a'"
    assert get(server, "/rooms/conflict").json["last"] == 1


def test_the_key_in_the_header_overrides_the_key_in_the_body(server: ServerProcess) -> None:
    answer = call(
        server, "POST", "/rooms/keys2/messages", '{"body":"x","key":"in"}', Content_Type=JSON, Idempotency_Key="head"
    )
    assert answer.json["key"] == "head"


@pytest.mark.parametrize(
    ("body", "headers", "problem"),
    [
        ("x" * 65_537, {}, (413, "body-too-large")),
        (json.dumps({"body": "x" * 65_537}), {"Content_Type": JSON}, (413, "body-too-large")),
        (json.dumps({"body": "x", "data": "y" * 65_536}), {"Content_Type": JSON}, (413, "data-too-large")),
        ("x" * 2_000_000, {}, (413, "body-too-large")),
        (b"\xff\xfe", {}, (400, "bad-body")),
        ("{", {"Content_Type": JSON}, (400, "bad-request")),
        ("[]", {"Content_Type": JSON}, (400, "bad-request")),
        ("{}", {"Content_Type": JSON}, (400, "bad-request")),
        ('{"body":7}', {"Content_Type": JSON}, (400, "bad-request")),
        ("[" * 100_000, {"Content_Type": JSON}, (400, "bad-request")),
        (b'{"body":"\xff"}', {"Content_Type": JSON}, (400, "bad-request")),
        (b'{"body":"\\ud800"}', {"Content_Type": JSON}, (400, "bad-request")),
        ("x", {"Idempotency_Key": "k" * 129}, (400, "bad-key")),
        ("x", {"Idempotency_Key": "\t\u00e9".strip()}, (400, "bad-key")),
        ('{"body":"x","key":"a\\nb"}', {"Content_Type": JSON}, (400, "bad-key")),
    ],
)
def test_an_invalid_publish_is_refused_with_a_code(
    server: ServerProcess, body: bytes | str, headers: dict[str, str], problem: tuple[int, str]
) -> None:
    assert call(server, "POST", "/rooms/refused/messages", body, **headers).problem == problem
    assert get(server, "/rooms/refused").json["last"] == 0


def test_a_request_over_the_size_limit_is_refused_with_the_same_sentence(server: ServerProcess) -> None:
    for n_bytes in (65_537, 2_000_000):
        answer = call(server, "POST", "/rooms/refused/messages", "x" * n_bytes)
        assert (answer.status, answer.json["detail"]) == (413, "a body holds at most 65536 bytes")


def test_a_body_at_the_limit_is_accepted_with_every_character_escaped(server: ServerProcess) -> None:
    body = "".join(f"\\u{ord(char):04x}" for char in "x" * 65_536)
    answer = call(server, "POST", "/rooms/brim/messages", f'{{"body":"{body}"}}', Content_Type=JSON)
    assert answer.status == 201
    assert answer.json["body"] == "x" * 65_536


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/rooms/.hidden/messages", "bad-room"),
        ("/rooms/a%20b/messages", "bad-room"),
        (f"/rooms/{'r' * 65}/messages", "bad-room"),
        ("/rooms/ops/messages?name=%1b%5b31m", "bad-sender"),
        (f"/rooms/ops/messages?name={'n' * 33}", "bad-sender"),
    ],
)
def test_invalid_names_are_refused(server: ServerProcess, path: str, code: str) -> None:
    assert call(server, "POST", path, "x").problem == (400, code)


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


# Reading pages


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


# Redacting


def test_redacting_removes_the_body_and_keeps_the_seq(server: ServerProcess) -> None:
    publish(server, "red", "secret", data={"pin": 1}, key="k")
    for _ in range(2):
        answer = call(server, "DELETE", "/rooms/red/messages/1")
        assert answer.status == 200
        assert answer.json["redacted"] is True
        assert answer.json["body"] == ""
        assert "data" not in answer.json
    assert get(server, "/rooms/red/messages").json["messages"] == [answer.json]
    assert publish(server, "red", "secret", key="k").status == 200


@pytest.mark.parametrize("seq", ["2", "0", "-1", "9" * 30, "one"])
def test_redacting_a_missing_message_is_not_found(server: ServerProcess, seq: str) -> None:
    publish(server, "red2", "x", key="only")
    assert call(server, "DELETE", f"/rooms/red2/messages/{seq}").problem == (404, "not-found")


# The rest


def test_health_returns_ok_and_counts(server: ServerProcess) -> None:
    answer = get(server, "/health")
    assert answer.status == 200
    assert set(answer.json) == {"status", "version", "connections", "rooms", "subscriptions"}
    assert answer.json["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "problem"),
    [
        ("GET", "/nothing", (404, "not-found")),
        ("GET", "/rooms/a/b/c", (404, "not-found")),
        ("GET", "/static/../pyproject.toml", (404, "not-found")),
        ("GET", "/static/%2e%2e/pyproject.toml", (404, "not-found")),
        ("GET", "/static//etc/passwd", (404, "not-found")),
        ("GET", "/static/%00", (404, "not-found")),
        ("GET", f"/static/{'a' * 300}", (404, "not-found")),
        ("GET", "/static/__init__.py", (404, "not-found")),
        ("GET", "/static/.git/config", (404, "not-found")),
        ("GET", "/rooms/%FF", (400, "bad-room")),
        ("GET", "/rooms/%00", (400, "bad-room")),
        ("PUT", "/rooms/ops/messages", (405, "method-not-allowed")),
        ("POST", "/rooms", (405, "method-not-allowed")),
        ("PUT", "/rooms/ops", (405, "method-not-allowed")),
    ],
)
def test_unknown_paths_and_methods_are_answered_with_a_problem(
    server: ServerProcess, method: str, path: str, problem: tuple[int, str]
) -> None:
    assert call(server, method, path).problem == problem


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200),
        ("/rooms", 200),
        ("/rooms/head", 200),
        ("/rooms/head/messages", 200),
        ("/rooms/head/members", 200),
        ("/rooms/head/events", 200),
        ("/schema", 200),
        ("/", 200),
        ("/nothing", 404),
        ("/rooms/.head", 404),
        ("/rooms/head/messages/1", 405),
    ],
)
def test_head_is_answered_like_get_without_the_body(server: ServerProcess, path: str, status: int) -> None:
    with raw(server) as opened:
        opened.sendall(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 2)
        opened.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, again, last, rest = read_all(opened).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert again.startswith(b"HTTP/1.1 %d " % status)
    assert last.startswith(b"HTTP/1.1 200 ")
    assert not rest
    if path != "/rooms/head/events":
        assert f"content-length: {len(get(server, path).body)}".encode() in head
    eventually(lambda: health(server)["subscriptions"] == 0)


def test_a_refused_upload_does_not_harm_the_server(server: ServerProcess) -> None:
    with raw(server) as opened:
        opened.sendall(b"POST /rooms/ops/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\nxxx")
        opened.settimeout(5)
        assert b" 413 " in opened.recv(4096)
    assert health(server)["status"] == "ok"


def test_one_connection_serves_many_requests(server: ServerProcess) -> None:
    request = b"GET /rooms/never HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /rooms/never HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with raw(server) as opened:
        opened.sendall(request * 5 + last)
        assert read_all(opened).count(b"HTTP/1.1 200 OK") == 6


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/ws/ops"])
def test_a_websockets_address_asks_for_an_upgrade(server: ServerProcess, path: str) -> None:
    answer = call(server, "GET", path)
    assert answer.problem == (426, "bad-request")
    assert (answer.headers["upgrade"], answer.headers["connection"]) == ("websocket", "upgrade")
    assert call(server, "HEAD", path).status == 426
    assert call(server, "POST", path).headers["allow"] == "GET, HEAD, OPTIONS"
    assert call(server, "OPTIONS", path).headers["allow"] == "GET, HEAD, OPTIONS"


def test_options_of_the_whole_server_lists_its_methods(server: ServerProcess) -> None:
    paths = call(server, "GET", "/schema/openapi.json").json["paths"].values()
    methods = {name.upper() for path in paths for name in path if name in {"get", "post", "put", "patch", "delete"}}
    answer = call(server, "OPTIONS", "*")
    assert (answer.status, answer.headers["allow"]) == (204, ", ".join(sorted(methods | {"HEAD", "OPTIONS"})))
