"""A line being typed: keys in, lines out, and how it looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from chatkit.cli.line_editor import EndOfInput, LineEditor

LEFT, RIGHT, UP, DOWN, HOME, END = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B", "\x1b[H", "\x1b[F"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("hello\n", "hello"),
        ("hello\r", "hello"),
        ("helo" + LEFT + "l\n", "hello"),
        ("ello" + HOME + "h\n", "hello"),
        ("hell" + HOME + END + "o\n", "hello"),
        ("hellox\x7f\n", "hello"),
        ("hexllo" + LEFT * 4 + "\x1b[3~\n", "hello"),
        ("one two\x17three\n", "one three"),
        ("gone\x15new\n", "new"),
        ("kept gone" + LEFT * 5 + "\x0b\n", "kept"),
        ("two words" + "\x1bb" + "x\n", "two xwords"),
        ("日本" + "\x7f\n", "日"),
        ("e\u0301\x7f\n", ""),
        ("👩\u200d🚀\x7f\n", ""),
        ("a\x1b\nb\n", "a\nb"),
        (PASTE + "one\r\ntwo\rthree\x1b[31m" + PASTED + "\n", "one\ntwo\nthree[31m"),
        ("\x1b[99;99Xunknown keys\x1bq do nothing\n", "unknown keys do nothing"),
    ],
)
def test_keys_make_a_line(keys: str, line: str) -> None:
    assert list(LineEditor().type(keys)) == [line]
    one_by_one = LineEditor()
    assert [done for key in keys for done in one_by_one.type(key)] == [line]


def test_earlier_lines_come_back_and_the_new_one_is_kept() -> None:
    editor = LineEditor()
    assert list(editor.type("one\ntwo\n")) == ["one", "two"]
    list(editor.type("new" + UP + UP))
    assert editor.text == "one"
    list(editor.type(UP + DOWN))
    assert editor.text == "two"
    list(editor.type(DOWN + DOWN))
    assert editor.text == "new"


def test_the_end_is_told_on_an_empty_line_alone() -> None:
    editor = LineEditor()
    list(editor.type("x" + LEFT + "\x04"))
    assert editor.text == ""
    with pytest.raises(EndOfInput):
        list(editor.type("\x04"))


@given(st.text(), st.sampled_from(["ops", "a" * 64, "\u623f" * 64]), st.integers(10, 200), st.integers(0, 300))
def test_the_row_never_is_wider_than_the_terminal(text: str, room: str, width: int, moves: int) -> None:
    editor = LineEditor()
    list(editor.type(PASTE + text.replace("\x1b", "") + PASTED + LEFT * moves))
    row, column = editor.look(f"{room}> ", width)
    assert cell_len(row) < width
    assert 0 <= column <= cell_len(row)
    assert row.isprintable()
