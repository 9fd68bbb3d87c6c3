"""Publishing and redacting over HTTP: bodies, keys, names and limits."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from raw_client import call, get, publish
from serving import ServerProcess, serve

JSON = "application/json"
REQUIRED = {"room", "seq", "time", "sender", "body"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("http") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


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
