"""Payloads of other services, written after their public documentation, and the messages that they become."""

import json
from pathlib import Path
from typing import Any

import pytest

from chatkit.errors import BadInput, BadRequest
from chatkit.server.hooks.body import JsonBody, TextBody, read_body
from chatkit.server.hooks.formats import HookFormat, convert, format_of
from chatkit.server.hooks.message import HookMessage, body_of, data_of
from chatkit.server.hooks.mrkdwn import to_markdown
from chatkit.server.hooks.payload import MAX_TEXT_CHARS, checked_url, link
from chatkit.wire.cards import MAX_CARDS, read_hook_data

LIMIT = 65_536
PAYLOADS = sorted((Path(__file__).parent / "payloads").glob("*.json"))


def message_of(payload: Any, **headers: str) -> HookMessage:
    body = JsonBody(payload)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return convert(format_of(named, body), named, body, LIMIT)


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_a_payload_becomes_a_readable_message(path: Path) -> None:
    case = json.loads(path.read_text())
    body = read_body("application/json", json.dumps(case["payload"]).encode())
    hook_format = format_of(case["headers"], body)
    assert hook_format == case["format"]
    message = convert(hook_format, case["headers"], body, LIMIT)
    text, lines = body_of(message, LIMIT)
    assert text.split("\n") == case["body"]
    assert json.loads(json.dumps(data_of(message, hook_format, lines, LIMIT))) == case["data"]


def test_every_format_has_payloads() -> None:
    assert {path.stem.partition("-")[0] for path in PAYLOADS} == {*HookFormat} - {HookFormat.TEXT}


def test_the_lines_of_the_data_are_the_text_before_the_cards() -> None:
    message = message_of({"text": "one\ntwo", "attachments": [{"title": "A"}, {"title": "B"}]})
    text, lines = body_of(message, LIMIT)
    assert "\n".join(text.split("\n")[:lines]) == "one\ntwo"
    data = read_hook_data(data_of(message, "slack", lines, LIMIT))
    assert data is not None
    assert (data.lines, [card.title for card in data.cards]) == (2, ["A", "B"])


@pytest.mark.parametrize(
    ("media_type", "sent", "expected"),
    [
        ("application/json", b'{"text":"a"}', JsonBody({"text": "a"})),
        ("application/vnd.x+json", b'{"text":"a"}', JsonBody({"text": "a"})),
        ("application/json", b'\xef\xbb\xbf{"text":"a"}', JsonBody({"text": "a"})),
        ("application/x-www-form-urlencoded", b'{"text":"a&b=c"}', JsonBody({"text": "a&b=c"})),
        ("application/x-www-form-urlencoded", b"payload=%7B%22text%22%3A%22a%22%7D", JsonBody({"text": "a"})),
        ("application/x-www-form-urlencoded", b"x=1&payload_json=%7B%22content%22%3A1%7D", JsonBody({"content": 1})),
        ("application/x-www-form-urlencoded", b"disk at 90% on a+b", TextBody("disk at 90% on a+b")),
        ("text/plain", b' {"text":"a"}', JsonBody({"text": "a"})),
        ("", b"[not json", TextBody("[not json")),
        ("text/plain", "grüße".encode(), TextBody("grüße")),
    ],
)
def test_the_content_type_is_read_leniently(media_type: str, sent: bytes, expected: JsonBody | TextBody) -> None:
    assert read_body(media_type, sent) == expected


@pytest.mark.parametrize(
    ("media_type", "sent"),
    [
        ("application/json", b"{"),
        ("application/json", b""),
        ("application/json", b"[" * 2_000),
        ("application/json", b"[" + b"0," * 60_000 + b"0]"),
        ("application/json", b"1" * 5_000),
        ("application/x-www-form-urlencoded", b"payload=nothing"),
        ("application/x-www-form-urlencoded", b"payload=1&" + b"a=1&" * 200),
        ("text/plain", b" \n"),
        ("text/plain", b"\xff"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(media_type: str, sent: bytes) -> None:
    with pytest.raises(BadInput):
        read_body(media_type, sent)


@pytest.mark.parametrize(
    "payload", [{"text": ""}, {"attachments": []}, {"blocks": [{}]}, {"content": " "}, {"embeds": [{}]}]
)
def test_an_empty_message_is_refused(payload: Any) -> None:
    with pytest.raises(BadRequest):
        message_of(payload)


def test_a_format_that_needs_json_refuses_text() -> None:
    with pytest.raises(BadRequest):
        convert(HookFormat.SLACK, {}, TextBody("hello"), LIMIT)
    assert convert(HookFormat.TEXT, {}, TextBody("a\x1b[31mb\r\nc"), LIMIT).text == "a[31mb\nc"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://example.com/a?b=c&d", "https://example.com/a?b=c&d"),
        ("https://example.com/a_(b)", "https://example.com/a_%28b%29"),
        ("javascript:alert(1)", ""),
        ("https://example.com/\x1b[31m", ""),
        ("https://example.com/a b", ""),
        ("https://" + "a" * 3_000, ""),
    ],
)
def test_only_addresses_of_http_are_links(address: str, expected: str) -> None:
    assert checked_url(address) == expected


def test_a_link_cannot_show_another_address() -> None:
    assert link("https://bank.example", "https://evil.example") == "https://bank.example (https://evil.example)"
    assert link("a](https://x)[b", "https://y.example") == "a)(https://x)(b (https://y.example)"
    assert to_markdown("<https://a.example|x]y>") == "[x)y](https://a.example)"


def test_control_characters_are_removed_everywhere() -> None:
    dirty = "a\x1b]0;x\x07\x00\x9b31m\u2028b"
    message = message_of(
        {
            "text": dirty,
            "username": dirty,
            "attachments": [{"title": dirty, "text": dirty, "fields": [{"title": dirty, "value": dirty}]}],
        }
    )
    body, lines = body_of(message, LIMIT)
    written = body + json.dumps(data_of(message, "slack", lines, LIMIT), ensure_ascii=False)
    assert not set(written) & {"\x1b", "\x07", "\x00", "\x9b", "\u2028"}


def test_what_is_too_long_is_cut_with_a_sentence() -> None:
    body, _ = body_of(message_of({"text": "ä" * 50_000}), LIMIT)
    assert len(body.encode()) <= LIMIT
    assert body.endswith("… (cut off here: the text was too long)")
    body, _ = body_of(message_of({"content": "x" * (MAX_TEXT_CHARS + 1)}), LIMIT)
    assert body.endswith("… (cut off here: the text was too long)")


def test_a_message_has_a_bounded_number_of_cards_and_bytes() -> None:
    message = message_of({"attachments": [{"title": str(n), "text": "x" * 6_000} for n in range(90)]})
    body, lines = body_of(message, LIMIT)
    assert len(body.encode()) <= LIMIT
    stored = data_of(message, "slack", lines, LIMIT)
    assert len(json.dumps(stored)) <= LIMIT
    assert 5 < len(stored["cards"]) <= MAX_CARDS
    body, _ = body_of(message_of({"attachments": [{"title": str(n)} for n in range(90)]}), LIMIT)
    assert body.endswith("… and 70 more")


def test_json_that_is_too_large_is_not_stored_as_data() -> None:
    message = message_of({"a": ["x" * 100] * 1_000})
    body, lines = body_of(message, LIMIT)
    assert body.startswith('a: ["xxx')
    assert body.endswith("… (the rest was not stored: the payload was too large)")
    assert data_of(message, "json", lines, LIMIT) is None


@pytest.mark.parametrize("unit", ["*", "`", "<", "<a|", "~ ~", "```", "*a ", "<@", "&lt;", "*a\x00*"])
def test_the_time_of_a_conversion_is_linear(unit: str) -> None:
    text = unit * (MAX_TEXT_CHARS // len(unit))
    assert len(to_markdown(text.replace("\x00", ""))) <= 3 * MAX_TEXT_CHARS
