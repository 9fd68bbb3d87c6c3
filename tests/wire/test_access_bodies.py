"""The bodies of access: what they hold of a token, a ban and a room, and that none shows a secret by accident."""

import msgspec
import pytest

from chatkit.core.access import Ban, BanSubject, Grant, Right, RoomSettings
from chatkit.core.token import Token, TokenKind
from chatkit.errors import BadRequest
from chatkit.wire.access import (
    BanView,
    NewTokenView,
    RedeemRequest,
    RoomSettingsChange,
    SessionRequest,
    TokenRequest,
    TokenView,
    read_wire_time,
)
from chatkit.wire.http import RoomView

GRANTS = (Grant("ops*", (Right.READ, Right.WRITE)),)
TOKEN = Token(
    "abcdefghij", "ann", TokenKind.PERSON, GRANTS, "the digest", 1_000, "root", 2_000, last_used_ms=1_500,
    previous_digest="the old digest", previous_until_ms=1_800,
)  # fmt: skip


def fields(view: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(view))


def test_a_token_is_shown_without_its_digests() -> None:
    assert fields(TokenView.of(TOKEN)) == {
        "id": "abcdefghij",
        "name": "ann",
        "kind": "person",
        "grants": [{"rooms": "ops*", "rights": ["read", "write"]}],
        "created": "1970-01-01T00:00:01.000Z",
        "made_by": "root",
        "expires": "1970-01-01T00:00:02.000Z",
        "last_used": "1970-01-01T00:00:01.500Z",
        "previous_until": "1970-01-01T00:00:01.800Z",
    }


def test_the_secret_is_in_the_json_of_a_new_token_and_not_in_its_text() -> None:
    view = NewTokenView.made(TOKEN, "ck_secret", "http://chat.example/#invite=ck_secret")
    assert msgspec.json.decode(msgspec.json.encode(view), type=NewTokenView) == view
    assert view.secret == "ck_secret"
    assert "ck_secret" not in f"{view!r} {view} {RedeemRequest('ck_secret', 'ann')!r} {SessionRequest('ck_secret')!r}"


def test_a_ban_is_shown_with_its_end_and_reason() -> None:
    ban = Ban("b1", BanSubject.NETWORK, "192.0.2.0/24", "*", "spam", "ann", 1_000, 2_000, is_mute=True)
    assert fields(BanView.of(ban)) == {
        "id": "b1",
        "kind": "network",
        "subject": "192.0.2.0/24",
        "room": "*",
        "created": "1970-01-01T00:00:01.000Z",
        "made_by": "ann",
        "until": "1970-01-01T00:00:02.000Z",
        "reason": "spam",
        "mute": True,
    }


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ("{}", RoomSettings("deploys", 100, 60)),
        ('{"topic":""}', RoomSettings("", 100, 60)),
        ('{"keep":null,"archived":true}', RoomSettings("deploys", None, 60, archived=True)),
        ('{"keep":5,"keep_for_s":null}', RoomSettings("deploys", 5, None)),
    ],
)
def test_a_setting_that_is_left_out_stays_and_null_is_the_servers(body: str, after: RoomSettings) -> None:
    request = msgspec.json.decode(body, type=RoomSettingsChange)
    assert request.apply(RoomSettings("deploys", 100, 60)) == after


def test_default_settings_are_left_out_of_a_room() -> None:
    view = RoomView("ops", 1, 2, "e:2", 0)
    assert b"topic" not in msgspec.json.encode(view.with_settings(RoomSettings()))
    assert view.with_settings(RoomSettings("deploys", 5, 60, archived=True)) == RoomView(
        "ops", 1, 2, "e:2", 0, None, "deploys", 5, 60, archived=True
    )


@pytest.mark.parametrize("body", ['{"name":"ann"}', '{"name":"ann","grants":[{"rooms":"*","rights":["reed"]}]}'])
def test_a_request_with_an_unknown_right_or_without_grants_is_not_decoded(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=TokenRequest)


def test_a_time_of_a_request_is_rfc_3339() -> None:
    assert read_wire_time("1970-01-01T01:00:01+01:00") == 1_000
    assert read_wire_time(None) is None
    for text in ("tomorrow", "30d", "0001-01-01T00:00:00+23:00"):
        with pytest.raises(BadRequest, match="not a time"):
            read_wire_time(text)
