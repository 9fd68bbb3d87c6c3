"""Text of other people is printed without characters that a terminal interprets, and is otherwise unchanged."""

import csv
import io
import sys
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.cli.formats import csv_line, gap_sentence, json_line, markdown, text_line
from chatkit.cli.sanitize import escaped, one_line, visible
from chatkit.core.model import Gap, Message

UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ANY_TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(st.none() | st.text(), st.lists)


def message(body: str = "hi", *, sender: str = "ann", data: object = None, redacted: bool = False) -> Message:
    return Message("ops", "e", 1, 0, sender, body, data, None, redacted)


def unsafe_characters(text: str, but: str = "") -> list[str]:
    return [char for char in text if unicodedata.category(char) in UNSAFE and char not in but]


def test_every_character_that_a_terminal_interprets_is_replaced() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert unsafe_characters(visible(everything), but="\n\t\u200c\u200d") == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("over\rwritten\b\b", "over␍written␈␈"),
        ("\x9b31m", "\\x9b31m"),
        ("\x7f", "␡"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("lines\r\nof\ntext\there", "lines\nof\ntext\there"),
        ("日本語 👩\u200d🚀 क\u200cष é", "日本語 👩\u200d🚀 क\u200cष é"),
        ("[bold]no markup[/bold]", "[bold]no markup[/bold]"),
    ],
)
def test_visible_text_keeps_printable_characters(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_one_line_replaces_line_feeds_and_tabs() -> None:
    assert one_line("a\nb\tc\r\nd") == "a␊b c␊d"


@given(ANY_TEXT)
def test_a_body_cannot_imitate_another_message(body: str) -> None:
    first, *rest = text_line(message(body)).split("\n")
    assert first.startswith(("1970-01-01", "1969-12-31"))
    assert all(line.startswith("    ") for line in rest)
    assert unsafe_characters("".join([first, *rest]), but="\t\u200c\u200d") == []


@given(JSON, st.text())
def test_json_keeps_its_value_and_contains_no_unsafe_characters(data: object, body: str) -> None:
    line = json_line(message(body, data=data))
    assert msgspec.json.decode(line)["body"] == body
    assert msgspec.json.decode(line).get("data") == data
    assert unsafe_characters(line, but="\u200c\u200d") == []


def test_json_escapes_characters_beyond_sixteen_bits_as_surrogate_pairs() -> None:
    assert escaped('"\U000e0041"') == '"\\udb40\\udc41"'


def test_a_csv_field_is_quoted_and_not_changed() -> None:
    assert csv_line(message('say "hi", =1+1\n@x')).endswith(',ann,"say ""hi"", =1+1\n@x",,,,,,,,,')


@pytest.mark.parametrize("body", ["a\nb", "a\rb", "a\r\nb", '"', ",", "\n"])
def test_a_csv_row_is_read_as_it_was_written(body: str) -> None:
    ((*_, read),) = [row[:5] for row in csv.reader(io.StringIO(csv_line(message(body)), newline=""))]
    assert read == body


@pytest.mark.parametrize(
    "body", ["# no heading", "- no list", "1. no list", "<b>", "`x`", "![](http://x)", "    code", "=="]
)
def test_markdown_escapes_markup_in_a_body(body: str) -> None:
    quoted = markdown(message(body)).split("\n> ", 1)[1].rstrip("\n")
    assert quoted != body
    assert quoted.replace("\\", "").replace("\u00a0", " ") == body


def test_a_redacted_message_is_marked() -> None:
    assert text_line(message("", redacted=True)).endswith("ann: (redacted)")


def test_a_gap_is_described_in_a_sentence() -> None:
    assert gap_sentence(Gap(4, 9, "trimmed")) == "messages 5 to 8 are missing here: no longer stored"
    assert gap_sentence(Gap(4, 6, "trimmed")) == "message 5 is missing here: no longer stored"
    assert "the room's log was reset" in gap_sentence(Gap(9, 1, "epoch"))
