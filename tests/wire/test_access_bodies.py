"""The bodies about access: what is shown of a token, a ban and a room's settings."""

import msgspec

from chatkit.core.access import Ban, BanSubject, Grant, Right, RoomSettings
from chatkit.core.token import Token, TokenKind
from chatkit.wire.access import BanView, RoomSettingsChange, RoomSettingsView, TokenView

TOKEN = Token(
    "abcdefghij",
    "ann",
    TokenKind.PERSON,
    (Grant("ops*", (Right.READ, Right.WRITE)),),
    "d1e5",
    0,
    "bob",
    expires_ms=1000,
)


def test_a_token_is_shown_without_its_digest() -> None:
    assert msgspec.json.decode(msgspec.json.encode(TokenView.of(TOKEN))) == {
        "id": "abcdefghij",
        "name": "ann",
        "kind": "person",
        "grants": [{"rooms": "ops*", "rights": ["read", "write"]}],
        "created": "1970-01-01T00:00:00.000Z",
        "made_by": "bob",
        "expires": "1970-01-01T00:00:01.000Z",
    }
    assert b"d1e5" not in msgspec.json.encode(TokenView.of(TOKEN, "ck_x"))
    assert TokenView.of(TOKEN, "ck_x").secret == "ck_x"


def test_a_ban_is_shown_with_its_end() -> None:
    ban = Ban("b1", BanSubject.NAME, "eve", "*", "spam", "bob", 0, 1000)
    assert msgspec.to_builtins(BanView.of(ban)) == {
        "id": "b1",
        "kind": "name",
        "subject": "eve",
        "room": "*",
        "created": "1970-01-01T00:00:00.000Z",
        "made_by": "bob",
        "reason": "spam",
        "until": "1970-01-01T00:00:01.000Z",
    }


def test_only_given_settings_change() -> None:
    change = msgspec.json.decode(b'{"keep": null, "topic": "x"}', type=RoomSettingsChange)
    after = change.apply(RoomSettings("old", keep=5, keep_for_s=60))
    assert after == RoomSettings("x", keep_for_s=60)
    assert msgspec.to_builtins(RoomSettingsView.of(after)) == {"topic": "x", "keep_for_s": 60}
