"""The editor of the input line, and the layout of the line in rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.cli.line_editor import EndOfInput, Interrupted, LineEditor
from chatkit.cli.terminal import rewraps_rows

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
    assert list(LineEditor().receive(keys)) == [line]
    one_by_one = LineEditor()
    assert [done for key in keys for done in one_by_one.receive(key)] == [line]


def test_the_answers_of_the_terminal_are_kept_and_are_no_part_of_the_line() -> None:
    editor = LineEditor()
    keys = "he\x1b[12;40Rllo\x1b[24;80R\x1b[999999;1R\n"
    assert [line for key in keys for line in editor.receive(key)] == ["hello"]
    assert editor.positions == [(12, 40), (24, 80)]


def test_the_cursor_moves_by_words_in_a_long_pasted_text() -> None:
    editor = LineEditor()  # a time that grows with the square of the length would take hours
    list(editor.receive(PASTE + "a" * 200_000 + " " * 200_000 + "b" + PASTED + "\x1bb"))
    assert editor.at == 400_000
    list(editor.receive("\x1bb"))
    assert editor.at == 0
    list(editor.receive("\x1bf"))
    assert editor.at == 200_000


def test_earlier_lines_are_recalled_and_the_new_line_is_kept() -> None:
    editor = LineEditor()
    assert list(editor.receive("one\ntwo\n")) == ["one", "two"]
    list(editor.receive("new" + UP + UP))
    assert editor.text == "one"
    list(editor.receive(UP + DOWN))
    assert editor.text == "two"
    list(editor.receive(DOWN + DOWN))
    assert editor.text == "new"


def test_ctrl_d_ends_the_input_only_on_an_empty_line() -> None:
    editor = LineEditor()
    list(editor.receive("x" + LEFT + "\x04"))
    assert editor.text == ""
    with pytest.raises(EndOfInput):
        list(editor.receive("\x04"))


def test_tab_replaces_the_word_by_one_completion_after_the_other() -> None:
    editor = LineEditor(lambda text: (text.rfind("@"), ("@bob ", "@Bert ") if "@b" in text else ()))
    texts = []
    list(editor.receive("hi @b!" + LEFT))
    for key in ("\t", "\t", "\t", "\t", "\x1b[Z", "\x1b[Z"):
        list(editor.receive(key))
        texts.append(editor.text)
    assert texts == ["hi @bob !", "hi @Bert !", "hi @b!", "hi @bob !", "hi @b!", "hi @Bert !"]
    assert list(editor.receive("x\t\n")) == ["hi @Bert x!"]  # another key ends the completion
    assert list(editor.receive("none\t\n")) == ["none"]
    only = LineEditor(lambda text: (0, ("/reply ",) if text == "/r" else ("/reply 7 ", "/reply 6 ")))
    assert list(only.receive("/r\t\t\n")) == ["/reply 7 "]


def test_ctrl_c_clears_the_line_and_interrupts_on_an_empty_one() -> None:
    editor = LineEditor()
    list(editor.receive("half a line\x03"))
    assert editor.text == ""
    list(editor.receive(UP + "!"))
    assert editor.text == "half a line!"
    with pytest.raises(Interrupted):
        list(editor.receive("\x03\x03"))


def test_reports_of_the_terminal_are_no_keys() -> None:
    editor = LineEditor()
    list(editor.receive("\x1b[I\x1b[3;4R"))
    assert (editor.has_focus, editor.positions, editor.n_pressed, editor.text) == (True, [(3, 4)], 0, "")
    list(editor.receive("\x1b[Ox"))
    assert (editor.has_focus, editor.n_pressed, editor.text) == (False, 1, "x")


FLAGS = "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
CLUSTERS = [
    FLAGS[:2],
    FAMILY,
    "e\u0301",
    "\U0001f44d\U0001f3fd",
    "\u1112\u1161\u11ab",
    "\u0915\u094d\u0937",
    "1\ufe0f\u20e3",
]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_one_key_deletes_or_passes_one_grapheme_cluster(cluster: str) -> None:
    assert list(LineEditor().receive(f"a{cluster}\x7f\n")) == ["a"]
    assert list(LineEditor().receive(f"a{cluster}{LEFT}\x1b[3~\n")) == ["a"]
    assert list(LineEditor().receive(f"a{cluster}{LEFT}b{RIGHT}c\n")) == [f"ab{cluster}c"]


def test_the_cursor_is_never_inside_a_grapheme_cluster() -> None:
    editor = LineEditor()
    list(editor.receive(FLAGS + LEFT * 2 + FLAGS[2:3]))  # half a flag before two flags changes which halves form pairs
    assert editor.at in (2, 4)
    list(editor.receive("\x15\x0bone \u0301two\x17"))  # a space with an accent is also one cluster
    assert editor.text == "one"


def test_the_byte_order_mark_of_a_pasted_file_is_removed() -> None:
    assert list(LineEditor().receive(PASTE + "\ufeffone" + PASTED + "\n")) == ["one"]


TEXTS = st.lists(st.one_of(st.text(max_size=5), st.sampled_from(CLUSTERS))).map("".join)


@given(
    TEXTS, st.sampled_from(["ops", "a" * 64, "\u623f" * 64]), st.integers(4, 60), st.integers(1, 9), st.integers(0, 99)
)
def test_no_row_reaches_the_edge_and_the_cursor_is_in_a_row(
    text: str, room: str, width: int, max_rows: int, moves: int
) -> None:
    editor = LineEditor()
    list(editor.receive(PASTE + text.replace("\x1b", "") + PASTED + LEFT * moves))
    layout = editor.layout(f"{room}> ", width, max_rows)
    assert 1 <= len(layout.rows) <= max_rows
    assert all(sum(row.widths) == row.width < width for row in layout.rows)
    assert 0 <= layout.cursor_row < len(layout.rows)
    assert 0 <= layout.cursor_column < width
    assert layout.rows_above_cursor(width) == layout.cursor_row
    assert all(row.text.replace("\u200c", "").replace("\u200d", "").isprintable() for row in layout.rows)


def test_a_cluster_that_is_wider_than_a_narrow_terminal_is_an_ellipsis() -> None:
    editor = LineEditor()
    list(editor.receive("\U0001f3fb\U0001f3fbb"))  # two modifiers without an emoji are one cluster of four cells
    assert [row.text for row in editor.layout("", 4, 9).rows] == ["\u2026b"]


def test_rows_contain_the_whole_text_in_order() -> None:
    editor = LineEditor()
    list(editor.receive("the quick brown fox " + CLUSTERS[1] + "\u65e5\u672c"))
    layout = editor.layout("ops> ", 12, 9)
    assert [row.text for row in layout.rows] == ["ops> the qu", "ick brown f", "ox " + CLUSTERS[1] + "\u65e5\u672c"]
    assert (layout.cursor_row, layout.cursor_column) == (2, 9)


@pytest.mark.parametrize(("width", "above"), [(60, 0), (47, 0), (46, 1), (30, 1), (20, 2), (5, 9)])
def test_rows_that_a_terminal_wraps_again_are_counted_above_the_cursor(width: int, above: int) -> None:
    editor = LineEditor()
    list(editor.receive("x" * 42))
    assert editor.layout("ops> ", 80, 9).rows_above_cursor(width) == above


@pytest.mark.parametrize(
    ("env", "wraps"),
    [({"TERM": "xterm"}, True), ({"XTERM_VERSION": "1"}, False), ({"XTERM_VERSION": "1", "TMUX": "/tmp/x"}, True)],
)
def test_terminals_that_wrap_rows_again_are_recognized(env: dict[str, str], *, wraps: bool) -> None:
    assert rewraps_rows(env) == wraps


def test_only_the_visible_part_of_a_long_text_is_laid_out() -> None:
    editor = LineEditor()
    list(editor.receive(PASTE + "x" * 1_000_000 + PASTED))
    layout = editor.layout("ops> ", 80, 20)
    assert len(layout.rows) == 20
    assert layout.rows[-1].text.endswith("x")
