"""The wrapping of text by words and by grapheme clusters."""

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from chatkit.cli.chat.wrapping import cells_of, shorten, wrap


def rows(text: str, width: int) -> list[str]:
    return [text[start:end] for start, end in wrap(text, width)]


@pytest.mark.parametrize(
    ("text", "width", "wrapped"),
    [
        ("", 5, [""]),
        ("the quick brown fox", 10, ["the quick", "brown fox"]),
        ("a  b", 3, ["a", "b"]),
        ("    code is indented", 10, ["    code", "is", "indented"]),
        ("see " + "x" * 25 + " ok", 10, ["see", "x" * 10, "x" * 10, "xxxxx ok"]),
        ("日本語の文章です", 7, ["日本語", "の文章", "です"]),
        ("go 👩\u200d🚀 go", 5, ["go 👩\u200d🚀", "go"]),
        ("e\u0301" * 5, 3, ["e\u0301" * 3, "e\u0301" * 2]),
        (" " * 12 + "far", 10, ["far"]),
    ],
)
def test_text_is_wrapped_by_words(text: str, width: int, wrapped: list[str]) -> None:
    assert rows(text, width) == wrapped


@given(st.text(st.sampled_from("ab \u0301日👍\u200d🚀é"), max_size=60), st.integers(2, 12))
def test_rows_fit_and_keep_every_word(text: str, width: int) -> None:
    wrapped = rows(text, width)
    assert all(cells_of(row) <= width for row in wrapped)
    assert "".join(wrapped).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(("text", "n_rows"), [("x" * 65_536, 2_341), ("word " * 13_000, 2_600), ("日" * 21_000, 1_500)])
def test_the_largest_bodies_are_wrapped(text: str, n_rows: int) -> None:
    assert len(wrap(text, 28)) == n_rows


def test_a_shortened_text_ends_with_an_ellipsis() -> None:
    assert shorten("short", 5) == "short"
    assert shorten("longer text", 7) == "longer…"
    assert shorten("日本語", 5) == "日本…"
    assert wcwidth.width(shorten("x" * 100_000, 12)) == 12
