"""`chatkit join` in a real terminal: the tests type into tmux and read its screen."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import ServerProcess, clean_environment, serve

from chatkit.backends import open_backend
from chatkit.cli.line_layout import lay_out
from chatkit.core.access import EVERYTHING, Credential, Identity
from chatkit.core.hub import Hub

PATIENCE_S = 30


class Screen:
    """A tmux server with one window, in which a shell runs."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._env = clean_environment({"TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": "$ "} | env)
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", "env", "-u", "ENV", "sh")
        self.wait_for(lambda: self.rows()[-1:] == ["$"])

    def tmux(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], env=self._env, capture_output=True, text=True, check=True)
        return done.stdout

    def type(self, *keys: str) -> None:
        """Press keys by their names in tmux, or type text."""
        self.tmux("send-keys", *keys)

    def rows(self) -> list[str]:
        """Return the rows of the screen, without empty rows at its end."""
        return self.tmux("capture-pane", "-p").rstrip().splitlines()

    def all_rows(self) -> str:
        """Return the screen and the rows that have scrolled out of it."""
        return self.tmux("capture-pane", "-p", "-S", "-").rstrip()

    def wait_for(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "\n".join(self.rows())

    def shows(self, *texts: str) -> None:
        self.wait_for(lambda: all(text in "\n".join(self.rows()) for text in texts))

    def row_is(self, text: str) -> None:
        """Wait until the last row has this text."""
        self.wait_for(lambda: self.rows()[-1:] == [text])

    def running(self) -> int:
        """Return the id of the process that the shell waits for."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def join(self, room: str, *words: str) -> None:
        command = [sys.executable, "-m", "chatkit.cli", "join", room, *words]
        self.type(f"clear; {shlex.join(command)}; echo status $?", "Enter")
        self.shows("is here; type /help")
        self.row_is(f"{room}>")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db") as process:
        yield process


@pytest.fixture
def screen(tmp_path: Path, server: ServerProcess) -> Iterator[Screen]:
    env = {"CHATKIT_SERVER": server.url, "CHATKIT_NAME": "ann", "HOME": str(tmp_path), "NO_COLOR": "1"}
    screen = Screen(tmp_path, env)
    yield screen
    screen.tmux("kill-server")


def publish(server: ServerProcess, room: str, text: str, name: str = "bob") -> None:
    command = [sys.executable, "-m", "chatkit.cli", "publish", room, text, "--name", name, "--server", server.url]
    subprocess.run(command, check=True, env=clean_environment({}))


def bodies_of(server: ServerProcess, room: str) -> list[str]:
    command = [sys.executable, "-m", "chatkit.cli", "history", room, "--json", "--server", server.url]
    done = subprocess.run(command, check=True, env=clean_environment({}), capture_output=True)
    return [json.loads(line)["body"] for line in done.stdout.splitlines()]


def test_messages_are_printed_above_the_input_line(screen: Screen, server: ServerProcess) -> None:
    publish(server, "talk", "earlier")
    screen.join("talk")
    screen.shows("bob: earlier")
    screen.type("half a li")
    screen.row_is("talk> half a li")
    publish(server, "talk", "two\nlines")
    screen.shows("bob: two\n    lines\ntalk> half a li")
    screen.type("ne", "Enter")
    screen.shows("ann: half a line")
    screen.row_is("talk>")
    assert bodies_of(server, "talk") == ["earlier", "two\nlines", "half a line"]


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
    publish(server, "long", "above")
    screen.shows("bob: above\nlong> " + "x" * 73 + "\n" + "x" * 27 + "last")
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
    screen.wait_for(lambda: screen.rows()[-1].endswith("last"))
    screen.type("C-a", "first")
    screen.wait_for(lambda: any(row.startswith("longer> first") for row in screen.rows()))
    screen.type("C-u", "C-k", "short")
    screen.row_is("longer> short")


def test_a_resized_terminal_shows_the_input_line_once(screen: Screen, server: ServerProcess) -> None:
    screen.join("size")
    # More than one screen, because a narrower tmux scrolls the top away even if the bottom is empty.
    before = "sent before\n" * 30
    publish(server, "size", before)
    screen.row_is("size>")
    text = "the quick brown fox \u65e5\u672c\u8a9e jumps over the lazy dog and goes on"
    screen.type(text)
    screen.shows("goes on")
    for width in (60, 30, 21, 40, 80, 33, 27, 100):
        resize(screen, "size", text, (width, 24))
        assert screen.all_rows().count("    sent before") == 29
    screen.type("C-a", "so ")
    screen.wait_for(lambda: typed_rows(screen, "size") == f"so{text}".replace(" ", ""))
    for width in (40, 25, 80):
        screen.tmux("resize-window", "-x", str(width), "-y", "24")
        screen.wait_for(lambda: typed_rows(screen, "size") == f"so{text}".replace(" ", ""))
    screen.type("C-e", "!", "Enter")
    screen.row_is("size>")
    assert bodies_of(server, "size") == [before, f"so {text}!"]


def test_the_input_line_is_shown_once_after_several_resizes_of_a_new_terminal(screen: Screen) -> None:
    screen.join("sizes")
    text = "\u65e5\u672c\u8a9e the quick brown fox jumps over \u65e5\u672c the lazy dog and goes on " * 2 + "now"
    screen.type(text)
    screen.shows("now")
    # Narrower, wider, and two sizes before the client has drawn for the first of them.
    for sizes in [(61, 24)], [(47, 24)], [(100, 30)], [(60, 24), (45, 24)], [(30, 24), (90, 24)], [(70, 24), (38, 40)]:
        resize(screen, "sizes", text, *sizes)
    screen.type("C-l", "!")
    screen.wait_for(lambda: screen.rows()[-1].endswith("now!"))
    assert typed_rows(screen, "sizes") == f"{text}!".replace(" ", "")


@pytest.mark.parametrize(
    "cluster", ["\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "\U0001f468\u200d\U0001f469", "e\u0301"]
)
def test_a_grapheme_cluster_is_edited_as_one_character(screen: Screen, server: ServerProcess, cluster: str) -> None:
    screen.join("faces")
    before = len(bodies_of(server, "faces"))
    screen.type(f"a{cluster}b", "Left", "BSpace", "c", "Enter")
    screen.row_is("faces>")
    screen.type(f"{cluster}{cluster}", "Left", "x", "End", "y", "Enter")
    screen.wait_for(lambda: len(bodies_of(server, "faces")) == before + 2)
    assert bodies_of(server, "faces")[before:] == ["acb", f"{cluster}x{cluster}y"]


def test_pasted_text_is_one_message(screen: Screen, server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "clip").write_text("one\ntwo\nthree")
    screen.join("paste")
    screen.tmux("load-buffer", str(tmp_path / "clip"))
    screen.tmux("paste-buffer", "-p")
    screen.row_is("paste> one⏎two⏎three")
    screen.type("Enter")
    screen.shows("ann: one\n    two\n    three")
    assert bodies_of(server, "paste") == ["one\ntwo\nthree"]


def test_commands_are_run_and_explained(screen: Screen, server: ServerProcess) -> None:
    screen.join("commands")
    screen.type("/help", "Enter", "/who", "Enter", "/nonsense", "Enter", "//me waves", "Enter")
    screen.shows("/quit", "-- ann is here\n", "unknown command /nonsense", "ann: /me waves")
    screen.type("/quit", "Enter")
    screen.shows("status 0")
    assert bodies_of(server, "commands") == ["/me waves"]


def test_joining_and_leaving_members_are_shown(screen: Screen, server: ServerProcess) -> None:
    screen.join("presence")
    other = subprocess.Popen(
        [sys.executable, "-m", "chatkit.cli", "join", "presence", "--name", "bob", "--server", server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=clean_environment({}),
    )
    with other:
        screen.shows("-- bob joined")
        other.communicate(b"")
    screen.shows("-- bob left")


def test_control_characters_of_a_message_do_not_change_the_screen(screen: Screen, server: ServerProcess) -> None:
    screen.join("hostile")
    screen.type("mine")
    publish(server, "hostile", "\x1b[2J\x1b[H\x1b]0;owned\x07\rann: forged\u202e[bold]x")
    screen.shows("bob: ␛[2J␛[H␛]0;owned␇␍ann: forged\\u202e[bold]x\nhostile> mine")


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


def test_a_restarted_server_is_reported_and_no_message_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with serve(folder / "rooms.db") as server:
        env = {"CHATKIT_SERVER": server.url, "CHATKIT_NAME": "ann", "HOME": str(tmp_path), "NO_COLOR": "1"}
        screen = Screen(tmp_path, env)
        try:
            screen.join("away")
            server.kill9()
            screen.shows("trying again\n-- what you send is kept until then")
            screen.type("sent while away", "Enter")
            server.start()
            publish(server, "away", "back")
            screen.shows("connected again", "ann: sent while away", "bob: back")
            assert sorted(bodies_of(server, "away")) == ["back", "sent while away"]
        finally:
            screen.tmux("kill-server")


def test_a_renamed_room_is_followed_with_all_lines_that_are_typed(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with serve(folder / "rooms.db") as server:
        env = {"CHATKIT_SERVER": server.url, "CHATKIT_NAME": "ann", "HOME": str(tmp_path), "NO_COLOR": "1"}
        screen = Screen(tmp_path, env)
        try:
            publish(server, "ops", "one")
            screen.join("ops")
            rename(server, "ops", "dev")
            screen.shows("-- the room 'ops' was renamed to 'dev'")
            screen.row_is("dev>")
            screen.type("two", "Enter", "/who", "Enter")
            screen.shows("ann: two", "-- ann is here\n")
            server.kill9()
            screen.shows("trying again")
            screen.type("three", "Enter", "four", "Enter", "half")
            rename(server, "dev", "lab")
            server.start()
            screen.shows("was renamed to 'lab'", "ann: three", "ann: four")
            screen.row_is("lab> half")
            assert bodies_of(server, "lab") == ["one", "two", "three", "four"]
            assert screen.all_rows().count("ann: ") == 3
        finally:
            screen.tmux("kill-server")


def rename(server: ServerProcess, room: str, new: str) -> None:
    async def main() -> None:
        async with open_backend(server.store) as backend, Hub(backend) as hub:
            root = Identity("root", grants=EVERYTHING, credential=Credential.STORE)
            await hub.moderation.rename_room(root, room, new)

    asyncio.run(main())


def test_a_dumb_terminal_is_treated_as_a_pipe(screen: Screen) -> None:
    command = f"TERM=dumb {shlex.quote(sys.executable)} -m chatkit.cli join dumb"
    screen.type(command, "Enter", "hello", "Enter")
    screen.shows("ann: hello")
    assert "dumb>" not in "\n".join(screen.rows())
