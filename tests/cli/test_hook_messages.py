"""The messages of webhooks in a terminal: text, cards as indented lines, and the name that the sender gave."""

from typing import Any

import pytest
from chat_display import KeptScreen, context_of
from msgspec.structs import replace

from chatkit.cli.formats import markdown, text_line
from chatkit.cli.history_text import HistoryText
from chatkit.cli.hook_text import shown_data, shown_text, shown_username
from chatkit.core.message_state import Edit, MessageState
from chatkit.core.model import Message

CARD = {
    "title": "Build #42",
    "url": "https://ci.example/42",
    "color": "#d03a3a",
    "author": "ann",
    "text": "one test failed:\ntest_a",
    "fields": [{"name": "branch", "value": "main", "short": True}, {"name": "", "value": "unnamed"}],
    "footer": "CI",
}
DATA = {"hook": "slack", "lines": 2, "username": "CI Bot", "cards": [CARD, {"text": "no title"}]}
BODY = "It failed.\nAgain.\n\n> **[Build #42](https://ci.example/42)**"
SHOWN = [
    "It failed.",
    "Again.",
    "  Build #42 https://ci.example/42",
    "    ann",
    "    one test failed:",
    "    test_a",
    "    branch: main",
    "    unnamed",
    "    CI",
    "  no title",
]


def message(data: Any = DATA, **parts: Any) -> Message:
    return Message("ops", "e", 1, 1_600_000_000_000, "alerts", BODY, data, verified=True, bot=True, **parts)


def test_cards_are_indented_lines_in_every_text_for_people() -> None:
    assert shown_text(message()).split("\n") == SHOWN
    assert shown_data(message()) is None
    assert text_line(message()).split("\n")[0].endswith(" alerts✓⚙ (CI Bot): It failed.")
    assert text_line(message()).split("\n")[2] == "      Build #42 https://ci.example/42"
    assert HistoryText().text_of(message()).split("\n")[1:] == [f"    {line}" for line in SHOWN[1:]]
    rows = context_of(KeptScreen()).transcript.message(message(), 80).split("\n")
    assert [row for row in rows if "Build #42 https://ci.example/42" in row]
    assert [row for row in rows if "alerts✓⚙ (CI Bot):" in row]
    assert "one test failed" in markdown(message())
    assert '"hook"' not in "".join(rows) + markdown(message())


@pytest.mark.parametrize(
    "shown",
    [
        message(state=MessageState(Edit(2, 1), (), 0, False)),
        message(DATA | {"cards": []}),
        message(DATA | {"cards": "none"}),
        message(DATA | {"lines": "two"}),
        replace(message(), bot=False),
    ],
)
def test_without_valid_cards_the_body_is_shown(shown: Message) -> None:
    assert shown_text(shown) == BODY


@pytest.mark.parametrize("data", [{"n": 1}, [1], "hook", {"hook": 1}, {"hook": "x", "cards": 1}])
def test_other_data_is_shown_as_json(data: Any) -> None:
    assert shown_text(message(data)) == BODY
    assert shown_data(message(data)) is not None
    assert shown_username(message(data)) == ""


def test_what_a_sender_wrote_cannot_control_the_terminal_or_imitate_a_message() -> None:
    hostile = {
        "hook": "slack",
        "username": "x\x1b[2J\ny",
        "cards": [{"title": "\x1b]0;t\x07", "text": "a\n12:00 bob: b"}],
    }
    for text in (text_line(message(hostile)), HistoryText().text_of(message(hostile))):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert all(line.startswith("    ") for line in text.split("\n")[1:])


def test_a_redacted_message_shows_nothing_of_its_data() -> None:
    assert shown_username(message(redacted=True)) == ""
