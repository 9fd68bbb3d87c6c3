"""Masking: no log line and no problem detail contains a token."""

import json
import logging

import pytest

from chatkit.errors import BadRequest
from chatkit.server.log_config import JsonFormatter, LineFormatter
from chatkit.server.problems import problem_of
from chatkit.server.token_masking import mask_tokens


@pytest.mark.parametrize(
    "address",
    [
        "/rooms?token=sesame",
        "/rooms?limit=1&token=sesame&x=2",
        "/rooms?%74oken=sesame",
        "/rooms?toke%6E=sesame",
        "/rooms?%2574oken=sesame",
        "/rooms?TOKEN=sesame",
        "/rooms?access_token=sesame",
        "/rooms?token=it's\"sesame",
        "token=sesame",
        "Authorization: Bearer sesame",
        "authorization: bearer  sesame",
        "GET https://chat.example/chat/?token=sesame HTTP/1.1",
    ],
)
def test_a_token_is_masked_however_its_key_is_written(address: str) -> None:
    assert "sesame" not in mask_tokens(f'192.0.2.1 - "GET {address} HTTP/1.1" 200')


@pytest.mark.parametrize(
    "address",
    [
        "/hooks/sesame",
        "/chat/hooks/sesame/slack?wait=true",
        "/%68ooks/sesame",
        "/%2568ooks/sesame",
        "http://chat.example/hooks/sesame",
        "/hooks/ck_abcdefghij_sesame",
    ],
)
def test_what_follows_hooks_in_a_path_is_masked(address: str) -> None:
    assert "sesame" not in mask_tokens(f"POST {address} HTTP/1.1")


def test_the_id_of_a_hooks_token_is_shown_however_often_it_is_masked() -> None:
    path = f"/hooks/ck_abcdefghij_{'x' * 43}/slack"
    assert mask_tokens(mask_tokens(path)) == "/hooks/ck_abcdefghij_…/slack"


@pytest.mark.parametrize(
    "text",
    ["/rooms?after=a:1&limit=2", "see /hooks and hooks", "a/hooked/x", "x=1", "a token is needed", "", "=", "?=&=;"],
)
def test_other_text_is_unchanged(text: str) -> None:
    assert mask_tokens(text) == text


def test_the_servers_secret_is_masked_in_every_escaped_form() -> None:
    secret = "a b+c/d"
    for text in ("x a b+c/d y", "a%20b%2Bc%2Fd", "a%20b%2Bc/d"):
        masked = mask_tokens(text, [secret])
        assert secret not in masked
        assert "%2B" not in masked


def test_tracebacks_in_log_lines_are_masked_as_well() -> None:
    error = ValueError("no such address: /rooms?%74oken=sesame, opensesame")
    failure = (ValueError, error, None)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "at %s and ?token=sesame", ("/?token=sesame",), failure)
    secrets = ["opensesame"]
    as_json = JsonFormatter(with_pid=False, secrets=secrets).format(record)
    assert "sesame" not in as_json
    assert "no such address" in json.loads(as_json)["traceback"]
    assert "sesame" not in LineFormatter("%(message)s", secrets).format(record)


def test_a_problem_does_not_repeat_a_token() -> None:
    assert "sesame" not in problem_of(BadRequest("not a page: /x?toke%6e=sesame")).detail
