"""A terminal in tmux, in which tests type and whose screen they read."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import clean_environment

PATIENCE_S = 30


class Looks:
    """A client of tmux in its control mode: it answers commands through a pipe, without a process for each of them."""

    def __init__(self, tmux: list[str], env: dict[str, str]) -> None:
        command = [*tmux, "-C", "attach", "-f", "no-output,ignore-size"]
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self._answer()  # to `attach`

    def ask(self, command: str) -> str:
        """Return the output of one command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Wait for the end of tmux."""
        self._process.communicate(timeout=PATIENCE_S)

    def _answer(self) -> str:
        while not (line := self._read()).startswith("%begin "):
            assert line, "tmux has ended"
        end, lines = line.replace("%begin", "%end"), []
        while (line := self._read()) != end:
            assert line, "tmux has ended"
            lines.append(line)
        return "".join(lines)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Screen:
    """A tmux server with one window, in which a shell runs. Close it at the end."""

    def __init__(
        self,
        folder: Path,
        env: dict[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
        max_rows: int = 2_000,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._env = clean_environment({"TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": "$ "} | env)
        size = ["-x", str(columns), "-y", str(rows)]
        limit = ["set-option", "-g", "history-limit", str(max_rows), ";"]
        self.tmux(*limit, "new-session", "-d", *size, "env", "-u", "ENV", "sh")
        self._looks = Looks(self._tmux, self._env)
        self.wait_for(lambda: self.rows()[-1:] == ["$"])

    def close(self) -> None:
        self.tmux("kill-server")
        self._looks.close()

    def tmux(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], env=self._env, capture_output=True, text=True, check=True)
        return done.stdout

    def type(self, *keys: str) -> None:
        """Press keys by their names in tmux, or type text."""
        self.tmux("send-keys", *keys)

    def rows(self) -> list[str]:
        """Return the rows of the screen, without empty rows at its end."""
        return self._looks.ask("capture-pane -p").rstrip().splitlines()

    def all_rows(self) -> str:
        """Return the screen and the rows that have scrolled out of it."""
        return self._looks.ask("capture-pane -p -S -").rstrip()

    def wait_for(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._patience_s
        while not holds():
            assert time.monotonic() < deadline, "\n".join(self.rows())
            time.sleep(0.02)

    def shows(self, *texts: str) -> None:
        self.wait_for(lambda: all(text in "\n".join(self.rows()) for text in texts))

    def row_is(self, text: str) -> None:
        """Wait until the last row has this text."""
        self.wait_for(lambda: self.rows()[-1:] == [text])

    def title(self) -> str:
        return self._looks.ask("display-message -p '#{pane_title}'").strip()

    def running(self) -> int:
        """Return the id of the process that the shell waits for."""
        shell = self._looks.ask("display-message -p '#{pane_pid}'").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def join(self, room: str, *words: str) -> None:
        command = [sys.executable, "-m", "chatkit.cli", "join", room, *words]
        self.type(f"clear; {shlex.join(command)}; echo status $?", "Enter")
        self.shows("is here; type /help")
        self.row_is(f"{room}>")


@contextmanager
def open_screen(folder: Path, server_url: str) -> Iterator[Screen]:
    """Yield a terminal in which `ann` uses a server."""
    env = {"CHATKIT_SERVER": server_url, "CHATKIT_NAME": "ann", "HOME": str(folder), "NO_COLOR": "1"}
    screen = Screen(folder, env)
    try:
        yield screen
    finally:
        screen.close()
