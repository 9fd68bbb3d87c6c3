"""The values of the backend contract: filters and epochs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.core.backend import EPOCH_ALPHABET, EPOCH_CHARS, Filter, new_epoch
from chatkit.core.model import Cursor, Message

STORED = Message("ops", "e", 7, 1_000, "ann", "Größe 50%")
REDACTED = Message("ops", "e", 8, 1_000, "ann", "", redacted=True)


@pytest.mark.parametrize(
    ("parts", "matches"),
    [
        ({}, True),
        ({"search": "GRÖSSE"}, True),
        ({"search": "0%"}, True),
        ({"search": ""}, True),
        ({"search": "small"}, False),
        ({"sender": "ann"}, True),
        ({"sender": "Ann"}, False),
        ({"since_ms": 1_000}, True),
        ({"since_ms": 1_001}, False),
        ({"until_ms": 1_001}, True),
        ({"until_ms": 1_000}, False),
        ({"search": "größe", "sender": "ann", "since_ms": 0, "until_ms": 2_000}, True),
        ({"search": "größe", "sender": "bob", "since_ms": 0, "until_ms": 2_000}, False),
    ],
)
def test_a_filter_chooses_a_message_if_every_part_holds(parts: dict[str, Any], matches: bool) -> None:
    assert Filter(**parts).matches(STORED) is matches


def test_a_redacted_message_matches_no_search() -> None:
    assert Filter(sender="ann").matches(REDACTED)
    assert not Filter(search="").matches(REDACTED)


@given(st.text(), st.text(), st.text())
def test_a_search_matches_every_part_of_a_body(before: str, part: str, after: str) -> None:
    message = Message("ops", "e", 1, 0, "ann", before + part + after)
    for search in (part, part.casefold()):
        assert Filter(search=search).matches(message)


def test_epochs_differ_and_are_valid_in_a_cursor() -> None:
    epochs = {new_epoch() for _ in range(1_000)}
    assert len(epochs) == 1_000
    for epoch in epochs:
        assert len(epoch) == EPOCH_CHARS
        assert set(epoch) <= set(EPOCH_ALPHABET)
        assert Cursor.parse(f"{epoch}:1") == Cursor(epoch, 1)
