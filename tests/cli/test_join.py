"""`chatkit join` in a real terminal: tmux holds the screen, the tests type and look."""

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

PATIENCE_S = 30


class Screen:
    """One tmux with one window, in which a shell runs."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._env = clean_environment({"TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": "$ "} | env)
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", "env", "-u", "ENV", "sh")
        self.waits_for(lambda: self.rows()[-1:] == ["$"])

    def tmux(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], env=self._env, capture_output=True, text=True, check=True)
        return done.stdout

    def type(self, *keys: str) -> None:
        """Press keys by tmux's names for them, else type the text."""
        self.tmux("send-keys", *keys)

    def rows(self) -> list[str]:
        """Return what is on the screen, without empty rows at its end."""
        return self.tmux("capture-pane", "-p").rstrip().splitlines()

    def waits_for(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "\n".join(self.rows())

    def shows(self, *texts: str) -> None:
        self.waits_for(lambda: all(text in "\n".join(self.rows()) for text in texts))

    def row_is(self, text: str) -> None:
        """Wait until the last row is this."""
        self.waits_for(lambda: self.rows()[-1:] == [text])

    def running(self) -> int:
        """Return the process that the shell waits for."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def join(self, room: str, *words: str) -> None:
        command = [sys.executable, "-m", "chatkit.cli", "join", room, *words]
        self.type(f"clear; {shlex.join(command)}; echo status $?", "Enter")
        self.shows("is here; /help")
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


def said(server: ServerProcess, room: str) -> list[str]:
    command = [sys.executable, "-m", "chatkit.cli", "history", room, "--json", "--server", server.url]
    done = subprocess.run(command, check=True, env=clean_environment({}), capture_output=True)
    return [json.loads(line)["body"] for line in done.stdout.splitlines()]


def test_what_is_said_comes_above_and_what_is_typed_stays_whole(screen: Screen, server: ServerProcess) -> None:
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
    assert said(server, "talk") == ["earlier", "two\nlines", "half a line"]


def test_a_line_is_edited(screen: Screen, server: ServerProcess) -> None:
    screen.join("edit")
    screen.type("日本語 wrold", "Left", "Left", "Left", "BSpace", "Right", "r")
    screen.row_is("edit> 日本語 world")
    screen.type("C-w", "C-a", "the ", "C-e", "!", "Enter")
    screen.shows("ann: the 日本語 ld!")
    screen.type("x", "C-u", "again", "Enter", "new", "Up", "Up")
    screen.row_is("edit> the 日本語 ld!")
    screen.type("Down", "Down")
    screen.row_is("edit> new")


def test_a_long_line_scrolls_in_its_row(screen: Screen) -> None:
    screen.join("long")
    screen.type("x" * 100, "last")
    screen.row_is("long> " + "x" * 69 + "last")
    screen.type("C-a")
    screen.row_is("long> " + "x" * 73)


def test_pasted_text_is_one_message(screen: Screen, server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "clip").write_text("one\ntwo\nthree")
    screen.join("paste")
    screen.tmux("load-buffer", str(tmp_path / "clip"))
    screen.tmux("paste-buffer", "-p")
    screen.row_is("paste> one⏎two⏎three")
    screen.type("Enter")
    screen.shows("ann: one\n    two\n    three")
    assert said(server, "paste") == ["one\ntwo\nthree"]


def test_commands_are_obeyed_and_explained(screen: Screen, server: ServerProcess) -> None:
    screen.join("commands")
    screen.type("/help", "Enter", "/who", "Enter", "/nonsense", "Enter", "//me waves", "Enter")
    screen.shows("/quit", "-- ann is here\n", "there is no /nonsense", "ann: /me waves")
    screen.type("/quit", "Enter")
    screen.shows("status 0")
    assert said(server, "commands") == ["/me waves"]


def test_who_comes_and_goes_is_told(screen: Screen, server: ServerProcess) -> None:
    screen.join("doors")
    other = subprocess.Popen(
        [sys.executable, "-m", "chatkit.cli", "join", "doors", "--name", "bob", "--server", server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=clean_environment({}),
    )
    with other:
        screen.shows("-- bob joined")
        other.communicate(b"")
    screen.shows("-- bob left")


def test_hostile_text_leaves_the_screen_alone(screen: Screen, server: ServerProcess) -> None:
    screen.join("hostile")
    screen.type("mine")
    publish(server, "hostile", "\x1b[2J\x1b[H\x1b]0;owned\x07\rann: forged\u202e[bold]x")
    screen.shows("bob: ␛[2J␛[H␛]0;owned␇␍ann: forged\\u202e[bold]x\nhostile> mine")


@pytest.mark.parametrize(("end", "status"), [("C-c", 130), ("C-d", 0), (signal.SIGTERM, 143)])
def test_the_terminal_is_left_as_it_was(screen: Screen, end: str | signal.Signals, status: int) -> None:
    screen.join("leave")
    if isinstance(end, str):
        screen.type(end)
    else:
        os.kill(screen.running(), end)
    screen.shows(f"status {status}")
    screen.type("stty -a | tr ' ' '\\n' | grep -E '^-?(icanon|echo);?$' | tr -d ';'", "Enter")
    screen.shows("\nicanon\necho\n")


def test_a_stop_and_a_return_find_the_line_again(screen: Screen) -> None:
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


def test_a_server_that_goes_and_comes_back_is_told_and_nothing_is_missed(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with serve(folder / "rooms.db") as server:
        env = {"CHATKIT_SERVER": server.url, "CHATKIT_NAME": "ann", "HOME": str(tmp_path), "NO_COLOR": "1"}
        screen = Screen(tmp_path, env)
        try:
            screen.join("away")
            server.kill9()
            screen.shows("trying again")
            screen.type("said while away", "Enter")
            server.start()
            publish(server, "away", "back")
            screen.shows("connected again", "ann: said while away", "bob: back")
            assert sorted(said(server, "away")) == ["back", "said while away"]
        finally:
            screen.tmux("kill-server")


def test_a_dumb_terminal_is_treated_as_a_pipe(screen: Screen) -> None:
    command = f"TERM=dumb {shlex.quote(sys.executable)} -m chatkit.cli join dumb"
    screen.type(command, "Enter", "hello", "Enter")
    screen.shows("ann: hello")
    assert "dumb>" not in "\n".join(screen.rows())
