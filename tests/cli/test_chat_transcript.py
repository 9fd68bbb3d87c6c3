"""How messages look in a terminal: columns, day lines, mentions, and what refers to a message."""

import time
from collections.abc import Iterator

import pytest
from chat_display import NOON_MS, KeptScreen, context_of, entry
from msgspec.structs import replace

from chatkit.cli.chat.context import ChatContext
from chatkit.cli.chat.wrapping import cells_of
from chatkit.core.message_state import Act
from chatkit.core.model import Message

DAY = "── Saturday, 28 November 2026 ──"
LONG = "the deploy of today begins at noon and will take about an hour"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def rows_of(context: ChatContext, *entries: Message, width: int = 80) -> list[str]:
    """Return the rows of entries in the order of delivery, without the first day line."""
    shown: list[str] = []
    for each in entries:
        context.recent.add(each)
        shown += context.transcript.message(each, width).split("\n")
    return shown[1:] if shown[0] == DAY else shown


def plain_rows(*entries: Message, width: int = 80) -> list[str]:
    return rows_of(context_of(KeptScreen()), *entries, width=width)


def test_a_day_line_precedes_the_first_message_of_a_day() -> None:
    context = context_of(KeptScreen())
    first, second = entry(1, "bob", "one"), entry(2, "bob", "two")
    assert context.transcript.message(first, 80) == f"{DAY}\n12:00     bob: one  #1"
    assert context.transcript.message(second, 80) == "12:00     bob: two  #2"
    later = replace(second, time_ms=NOON_MS + 86_400_000, seq=3)
    assert context.transcript.message(later, 80).startswith("── Sunday, 29 November 2026 ──\n12:00 ")
    assert context.transcript.listing([first], 80).startswith(DAY)
    assert context.transcript.message(later, 80).startswith("── Sunday, 29 November 2026 ──\n12:00 ")


def test_names_are_aligned_and_text_has_a_hanging_indent() -> None:
    assert plain_rows(entry(1, "bob", LONG), entry(2, "charlotte", "ok"), entry(3, "bob", "two\nlines"), width=60) == [
        "12:00   bob: the deploy of today begins at noon and will",
        "             take about an hour  #1",
        "12:00 charlotte: ok  #2",
        "12:00       bob: two",
        "                 lines  #3",
    ]


def test_a_name_that_is_wider_than_the_column_has_a_row_of_its_own() -> None:
    name = "abcdefghijklmnopqrstuvwxyz012345"
    assert plain_rows(entry(1, "bob", "hi"), entry(2, name, LONG), width=40) == [
        "12:00 bob: hi  #1",
        f"12:00 {name}:",
        "           the deploy of today begins",
        "           at noon and will take about",
        "           an hour  #2",
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("body", [LONG, "x" * 2_000, "日本語の文章👩\u200d🚀" * 30, "مرحبا بالعالم " * 20, "\t- tab"])
def test_rows_stay_inside_the_terminal(width: int, body: str) -> None:
    entries = [entry(1, "bob", body), entry(2, "日本太郎", body), entry(3, "charlotte", body)]
    entries += [entry(4, "bob", body, 1), entry(5, "bob", body, 1, Act.EDIT), entry(6, "bob", "👍", 1, Act.REACT)]
    assert all(cells_of(row) < width for row in plain_rows(*entries, width=width))


def test_the_number_of_a_message_takes_a_row_only_if_it_does_not_fit() -> None:
    width = len("12:00 bob: ") + 1
    assert plain_rows(entry(1, "bob", "x" * 20), width=width + 24)[0].endswith("x  #1")
    assert plain_rows(entry(12, "bob", "x" * 20), width=width + 24)[1].strip() == "#12"


def test_relations_are_shown_with_what_they_refer_to() -> None:
    assert plain_rows(
        entry(1, "ann", "shall we deploy?"),
        entry(2, "bob", "yes", 1),
        entry(3, "bob", "👍", 1, Act.REACT),
        entry(4, "cat", "👍", 1, Act.REACT),
        entry(5, "ann", "shall we deploy at noon?", 1, Act.EDIT),
        entry(6, "bob", "👍", 1, Act.UNREACT),
        entry(7, "cat", "", 1, Act.PIN),
        entry(8, "dan", "no idea", 1),
        entry(9, "dan", "👀", 8, Act.REACT),
        entry(10, "dan", "", 8, Act.REDACT),
        entry(11, "ann", "what was it?", 8),
        entry(12, "ann", "what?", 999),
        entry(13, "ann", "👍", 999, Act.REACT),
        entry(14, "ann", "/me waves"),
    ) == [
        "12:00     ann: shall we deploy?  #1",
        "12:00     bob: ↳ ann: shall we deploy?",
        "               yes  #2",
        "12:00        * 👍 bob on #1 (ann: shall we deploy?)",
        "12:00        * 👍 bob, cat on #1 (ann: shall we deploy?)",
        "12:00        * ann edited #1: shall we deploy at noon?",
        "12:00        * bob took 👍 back from #1",
        "12:00        * cat pinned #1 (ann: shall we deploy at noon?)",
        "12:00     dan: ↳ ann: shall we deploy at noon?",
        "               no idea  #8",
        "12:00        * 👀 dan on #8 (dan: no idea)",
        "12:00        * dan redacted #8",
        "12:00     ann: ↳ dan: (redacted)",
        "               what was it?  #11",
        "12:00     ann: ↳ #999",
        "               what?  #12",
        "12:00        * 👍 ann on #999",
        "12:00        * ann waves  #14",
    ]


def test_control_characters_and_marks_are_harmless() -> None:
    hostile = replace(entry(1, "bob✓", "\x1b[2J\r\nann: forged\u202e\x07", 0), data={"a": "\x1b]0;x"})
    assert plain_rows(hostile) == [
        "12:00    bob?: ↳ #0",
        "               ␛[2J",
        "               ann: forged\\u202e␇",
        '               {"a":"\\u001b]0;x"}  #1',
    ]


def test_mentions_of_this_person_are_emphasized() -> None:
    context = context_of(KeptScreen(), is_coloured=True)
    mentioned = entry(1, "bob", "@Ann, @bob: mail ann@ann.org, not @annette", mentions=("ann", "bob"))
    [row] = rows_of(context, mentioned)[1:]
    bob = context.style.colour_of("bob")
    assert row.count("\x1b[1;7m") == 1
    assert f"\x1b[1;7m@Ann\x1b[0m, \x1b[{bob}m@bob\x1b[0m: mail ann@ann.org, not @annette\x1b[2m  #1" in row


def test_a_waiting_line_takes_one_row() -> None:
    transcript = context_of(KeptScreen()).transcript
    assert transcript.waiting("one\ntwo", 80) == "          ann: one␊two"
    assert cells_of(transcript.waiting("x" * 200, 40)) == 39
    assert transcript.waiting("and 2 more", 80, has_name=False) == "               and 2 more"
