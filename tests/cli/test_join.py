"""`chatkit join` in a real terminal: the input line, and what the terminal shows around it."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ServerProcess
from stored_messages import bodies_of, publish
from tmux_screen import Screen, open_screen

from chatkit.cli.line_layout import lay_out

pytest_plugins = ["screen_fixtures"]

INDENT = " " * 15  # of the text in a terminal of 80 columns


def test_messages_are_printed_above_the_input_line(screen: Screen, server: ServerProcess) -> None:
    publish(server.url, "talk", "earlier", "bob")
    screen.join("talk")
    screen.shows("bob: earlier")
    screen.type("half a li")
    screen.row_is("talk> half a li")
    publish(server.url, "talk", "two\nlines", "bob")
    screen.shows(f"bob: two\n{INDENT}lines  #2\ntalk> half a li")
    screen.type("ne", "Enter")
    screen.shows("ann: half a line  #3")
    screen.row_is("talk>")
    assert bodies_of(server.url, "talk") == ["earlier", "two\nlines", "half a line"]


def test_the_input_line_is_edited(screen: Screen, server: ServerProcess) -> None:
    screen.join("edit")
    screen.type("日本語 wrold", "Left", "Left", "Left", "BSpace", "Right", "r")
    screen.row_is("edit> 日本語 world")
    screen.type("C-w", "C-a", "the ", "C-e", "!", "Enter")
    screen.shows("ann: the 日本語 ld!")
    screen.type("x", "C-u", "again", "Enter", "new", "Up", "Up")
    screen.row_is("edit> the 日本語 ld!")
    screen.type("Down", "Down")
    screen.row_is("edit> new")


def typed_rows(screen: Screen, room: str) -> str:
    """Return the input line without spaces. Fail if it is on the screen or in the scrolled rows twice."""
    rows = screen.all_rows()
    assert rows.count(f"{room}> ") <= 1, rows
    return rows.partition(f"{room}> ")[2].replace("\n", "").replace(" ", "")  # tmux omits spaces at the end of a row


def resize(screen: Screen, room: str, text: str, *sizes: tuple[int, int]) -> None:
    """Give the terminal these sizes at once, and wait until the input line is drawn for the last and is shown once."""
    commands = [["resize-window", "-x", str(width), "-y", str(height), ";"] for width, height in sizes]
    screen.tmux(*(word for words in commands for word in words))
    # tmux has wrapped the old rows before the client draws them, also in the last column, which the client leaves free.
    drawn = [row.text.rstrip() for row in lay_out(f"{room}> ", text, len(text), sizes[-1][0], 24).rows]
    screen.wait_for(lambda: screen.rows()[-len(drawn) :] == drawn)
    assert typed_rows(screen, room) == text.replace(" ", "")


def test_messages_are_printed_above_all_rows_of_a_long_input_line(screen: Screen, server: ServerProcess) -> None:
    screen.join("long")
    screen.type("x" * 100, "last")
    screen.row_is("x" * 27 + "last")
    assert screen.rows()[-2] == "long> " + "x" * 73
    publish(server.url, "long", "above", "bob")
    screen.shows("bob: above  #1\nlong> " + "x" * 73 + "\n" + "x" * 27 + "last")
    screen.type("C-a", "first")
    screen.shows("long> first" + "x" * 68 + "\n" + "x" * 32 + "last")
    screen.type("C-k", "!")
    screen.row_is("long> first!")
    screen.type("Enter")
    screen.shows("ann: first!")
    screen.row_is("long>")


def test_an_input_line_longer_than_the_screen_shows_the_part_around_the_cursor(screen: Screen) -> None:
    screen.join("longer")
    screen.tmux("resize-window", "-x", "40", "-y", "8")
    screen.type("x" * 400, "last")
    screen.wait_for(lambda: "\n".join(screen.rows()).endswith("last"))
    screen.type("C-a", "first")
    screen.wait_for(lambda: any(row.startswith("longer> first") for row in screen.rows()))
    screen.type("C-u", "C-k", "short")
    screen.row_is("longer> short")


def test_a_resized_terminal_shows_the_input_line_once(screen: Screen, server: ServerProcess) -> None:
    screen.join("size")
    # More than one screen, because a narrower tmux scrolls the top away even if the bottom is empty.
    before = "sent before\n" * 30
    publish(server.url, "size", before, "bob")
    screen.row_is("size>")
    text = "the quick brown fox \u65e5\u672c\u8a9e jumps over the lazy dog and goes on"
    screen.type(text)
    screen.shows("goes on")
    for width in (60, 30, 21, 40, 80, 33, 27, 100):
        resize(screen, "size", text, (width, 24))
        assert screen.all_rows().replace("\n", "").count("sent before") == 30
    screen.type("C-a", "so ")
    screen.wait_for(lambda: typed_rows(screen, "size") == f"so{text}".replace(" ", ""))
    for width in (40, 25, 80):
        screen.tmux("resize-window", "-x", str(width), "-y", "24")
        screen.wait_for(lambda: typed_rows(screen, "size") == f"so{text}".replace(" ", ""))
    screen.type("C-e", "!", "Enter")
    screen.row_is("size>")
    assert bodies_of(server.url, "size") == [before, f"so {text}!"]


def test_the_input_line_is_shown_once_after_several_resizes_of_a_new_terminal(screen: Screen) -> None:
    screen.join("sizes")
    text = "\u65e5\u672c\u8a9e the quick brown fox jumps over \u65e5\u672c the lazy dog and goes on " * 2 + "now"
    screen.type(text)
    screen.shows("now")
    # Narrower, wider, and two sizes before the client has drawn for the first of them.
    for sizes in [(61, 24)], [(47, 24)], [(100, 30)], [(60, 24), (45, 24)], [(30, 24), (90, 24)], [(70, 24), (38, 40)]:
        resize(screen, "sizes", text, *sizes)
    screen.type("C-l", "!")
    screen.wait_for(lambda: "\n".join(screen.rows()).endswith("now!"))
    assert typed_rows(screen, "sizes") == f"{text}!".replace(" ", "")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, server: ServerProcess) -> Iterator[Screen]:
    """A chat for several tests: each begins with an empty line."""
    with open_screen(tmp_path_factory.mktemp("faces"), server.url) as screen:
        screen.join("faces")
        yield screen


@pytest.mark.parametrize(
    "cluster", ["\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "\U0001f468\u200d\U0001f469", "e\u0301"]
)
def test_a_grapheme_cluster_is_edited_as_one_character(faces: Screen, server: ServerProcess, cluster: str) -> None:
    before = len(bodies_of(server.url, "faces"))
    faces.type("C-a", "C-k", f"a{cluster}b", "Left", "BSpace", "c", "Enter")
    faces.row_is("faces>")
    faces.type(f"{cluster}{cluster}", "Left", "x", "End", "y", "Enter")
    faces.wait_for(lambda: len(bodies_of(server.url, "faces")) == before + 2)
    assert bodies_of(server.url, "faces")[before:] == ["acb", f"{cluster}x{cluster}y"]
    faces.row_is("faces>")


def test_pasted_text_is_one_message(screen: Screen, server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "clip").write_text("one\ntwo\nthree")
    screen.join("paste")
    screen.tmux("load-buffer", str(tmp_path / "clip"))
    screen.tmux("paste-buffer", "-p")
    screen.row_is("paste> one⏎two⏎three")
    screen.type("Enter")
    screen.shows(f"ann: one\n{INDENT}two\n{INDENT}three  #1")
    assert bodies_of(server.url, "paste") == ["one\ntwo\nthree"]


def test_ctrl_c_clears_the_line_before_it_leaves(screen: Screen) -> None:
    screen.join("clear")
    screen.type("half a line", "C-c")
    screen.row_is("clear>")
    screen.type("Up", "!")
    screen.row_is("clear> half a line!")
    screen.type("C-c")
    screen.row_is("clear>")
    screen.type("C-c")
    screen.shows("status 130")


def test_control_characters_of_a_message_do_not_change_the_screen(screen: Screen, server: ServerProcess) -> None:
    screen.join("hostile")
    screen.type("mine")
    publish(server.url, "hostile", "\x1b[2J\x1b[H\x1b]0;owned\x07\rann: forged\u202e[bold]x", "bob")
    screen.shows("bob: ␛[2J␛[H␛]0;owned␇␍ann: forged\\u202e[bold]x  #1\nhostile> mine")


@pytest.mark.parametrize(("end", "status"), [("C-c", 130), ("C-d", 0), (signal.SIGTERM, 143)])
def test_the_terminal_is_restored_at_the_end(screen: Screen, end: str | signal.Signals, status: int) -> None:
    screen.join("leave")
    if isinstance(end, str):
        screen.type(end)
    else:
        os.kill(screen.running(), end)
    screen.shows(f"status {status}")
    screen.type("stty -a | tr ' ' '\\n' | grep -E '^-?(icanon|echo);?$' | tr -d ';'", "Enter")
    screen.shows("\nicanon\necho\n")


def test_the_input_line_is_shown_again_after_a_stop(screen: Screen) -> None:
    screen.type("exec bash --norc --noprofile", "Enter")
    screen.join("stop")
    screen.type("kept")
    screen.row_is("stop> kept")
    screen.type("C-z")
    screen.shows("Stopped")
    screen.type("fg", "Enter")
    screen.row_is("stop> kept")
    screen.type("!", "Enter")
    screen.shows("ann: kept!")


def test_a_dumb_terminal_is_treated_as_a_pipe(screen: Screen) -> None:
    command = f"TERM=dumb {shlex.quote(sys.executable)} -m chatkit.cli join dumb"
    screen.type(command, "Enter", "hello", "Enter")
    screen.shows("ann: hello")
    assert "dumb>" not in "\n".join(screen.rows())
