"""What rooms are made of: names, limits, cursors, times."""

import contextlib
import datetime as dt
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.core import model
from chatkit.core.model import (
    MAX_DATA_DEPTH,
    Cursor,
    Draft,
    Limits,
    Message,
    check_body,
    check_data,
    check_key,
    check_room,
    check_sender,
    format_time,
    parse_time,
)
from chatkit.errors import BadBody, BadCursor, BadName, ChatkitError, TooLarge

any_text = st.text(st.characters(), max_size=80)  # lone surrogates among them
epochs = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=32)


@given(epochs, st.integers(0, 10**18 - 1))
def test_a_cursor_is_parsed_as_it_was_formatted(epoch: str, seq: int) -> None:
    assert Cursor.parse(str(Cursor(epoch, seq))) == Cursor(epoch, seq)


@given(any_text | st.from_regex(r"\A[a-z0-9:]*:?[0-9-]*\Z"))
def test_invalid_cursors_raise_only_bad_cursor(text: str) -> None:
    with contextlib.suppress(BadCursor):
        cursor = Cursor.parse(text)
        assert 0 <= cursor.seq < 2**63
        assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text", ["", ":", "a:", ":1", "a:-1", "a:1.5", "a:٣", "é:1", "a b:1", f"a:{'9' * 19}", "a" * 33 + ":1"]
)
def test_text_that_is_not_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        Cursor.parse(text)


def test_a_message_knows_its_cursor_and_time() -> None:
    message = Message("ops", "e", 7, 1_795_175_241_123, "ann", "hi")
    assert message.cursor == Cursor("e", 7)
    assert message.time == "2026-11-20T11:47:21.123Z"


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_parsed_as_it_was_formatted(time_ms: int) -> None:
    assert parse_time(format_time(time_ms)) == time_ms


@given(st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-9))])))
def test_a_time_zone_is_respected(moment: dt.datetime) -> None:
    assert abs(parse_time(moment.isoformat()) / 1000 - moment.timestamp()) < 0.001


@pytest.mark.parametrize("text", ["", "now", "2026-13-01T00:00:00Z", "12:00", "\ud800"])
def test_text_that_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # that is all that is promised
        parse_time(text)


@pytest.mark.parametrize("name", ["a", "ops", "Ops", "a.b", "-", "_", "Ünïcode", "会議室", "हिन्दी", "٣", "a" * 64])
def test_valid_room_names_are_accepted(name: str) -> None:
    assert check_room(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "name", ["", ".", ".a", "a b", "a/b", "#ops", "a" * 65, "a\n", "\x00", "a\u202eb", "\ud800", "a\u200bb", "🎉", "½"]
)
def test_invalid_room_names_are_refused(name: str) -> None:
    with pytest.raises(BadName) as caught:
        check_room(name)
    assert caught.value.code == "bad-room"


def test_room_names_are_normalized_and_case_sensitive() -> None:
    assert check_room("cafe\u0301") == check_room("caf\u00e9") == "caf\u00e9"
    assert check_room("Ops") != check_room("ops")


@given(any_text)
def test_checking_a_checked_name_does_not_change_it(name: str) -> None:
    for check in (check_room, check_sender):
        try:
            checked = check(name)
        except BadName:
            continue
        assert check(checked) == checked


@pytest.mark.parametrize("name", ["ann", "  ann ", "Ann Smith", "🎉", "名前", "a" * 32])
def test_sender_names_are_trimmed(name: str) -> None:
    assert check_sender(name) == name.strip()


@pytest.mark.parametrize(
    "name", ["", "  ", "a" * 33, "a\nb", "a\tb", "\x1b[31m", "a\u202eb", "\ud800", "a\u200bb", "a\x00"]
)
def test_invalid_sender_names_are_refused(name: str) -> None:
    with pytest.raises(BadName) as caught:
        check_sender(name)
    assert caught.value.code == "bad-sender"


def test_blanks_around_a_name_are_not_cached() -> None:
    model._check_sender.cache_clear()
    for count in range(1, 50):
        assert check_sender("ann" + " " * 1000 * count) == "ann"
    assert model._check_sender.cache_info().currsize == 1


@pytest.mark.parametrize("key", ["", "a" * 129, "é", "a\n", "\x00", "\ud800", "\x7f"])
def test_invalid_keys_are_refused(key: str) -> None:
    with pytest.raises(BadName) as caught:
        check_key(key)
    assert caught.value.code == "bad-key"


def test_valid_keys_are_accepted() -> None:
    assert check_key("a b/~" * 20) == "a b/~" * 20


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.integers(0, 60))
def test_a_body_is_measured_in_bytes(body: str, max_bytes: int) -> None:
    if len(body.encode()) <= max_bytes:
        assert check_body(body, max_bytes) == body
    else:
        with pytest.raises(TooLarge) as caught:
            check_body(body, max_bytes)
        assert (caught.value.code, caught.value.max_bytes) == ("body-too-large", max_bytes)


@pytest.mark.parametrize("max_bytes", [10, 65_536])
def test_a_body_with_a_lone_surrogate_is_refused(max_bytes: int) -> None:
    with pytest.raises(BadBody):
        check_body("a\ud800", max_bytes)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=4)
    ),
)


@given(json_values)
def test_every_json_value_is_valid_data(value: object) -> None:
    assert check_data(value, 65_536) == value


@pytest.mark.parametrize("value", [object(), "\ud800", ["\ud800"], {"\ud800": 1}, 1j])
def test_values_that_are_not_json_are_refused_as_data(value: object) -> None:
    with pytest.raises(BadBody):
        check_data(value, 65_536)


def test_data_are_as_after_a_json_round_trip() -> None:
    assert check_data([(1, 2), float("nan"), {3: "x"}], 65_536) == [[1, 2], None, {"3": "x"}]


def test_data_are_measured_in_bytes() -> None:
    assert check_data("é", 4) == "é"
    with pytest.raises(TooLarge) as caught:
        check_data("é", 3)
    assert caught.value.code == "data-too-large"


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_deeply_nested_data_are_refused() -> None:
    assert check_data(nested(MAX_DATA_DEPTH), 65_536)
    assert check_data([{"a": []}] * 1000, 65_536)
    for depth in (MAX_DATA_DEPTH + 1, 500, 5000):
        with pytest.raises(BadBody):
            check_data(nested(depth), 65_536)


def test_a_draft_is_checked_in_every_part() -> None:
    made = Draft.new("ops", "hi", sender=" ann ", data={"n": 1}, key="k")
    assert made == Draft("ops", "ann", "hi", {"n": 1}, "k")
    bad: list[dict[str, object]] = [
        {"room": "a b", "body": ""},
        {"room": "a", "body": "x" * 5},
        {"room": "a", "body": "", "sender": ""},
        {"room": "a", "body": "", "data": "x" * 5},
        {"room": "a", "body": "", "key": ""},
    ]
    for parts in bad:
        with pytest.raises(ChatkitError):
            Draft.new(**parts, limits=Limits(body=4, data=4))  # type: ignore[arg-type]
