"""`chatkit` commands as real processes in a folder of their own."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import stored_messages
from forking import ClosedStreams
from serving import clean_environment

PATIENCE_S = 60
STDIN, STDOUT, STDERR = range(3)


class Shell:
    """Runs `chatkit` in a folder of its own, against one server."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.env = clean_environment({"CHATKIT_SERVER": url, "CHATKIT_NAME": "ann", "COLUMNS": "200", "TZ": "UTC"})
        # Else a developer's own chatkit.toml would count.
        self.env |= {"XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder)}

    def start(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "chatkit.cli", *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.env,
        )

    def run(self, *words: str, given: bytes | str = b"", status: int = 0) -> str:
        """Run a command, check its exit code and return its output; its error output is in `stderr`."""
        process = self.start(*words, stdin=subprocess.PIPE)
        with process:
            out, err = process.communicate(given.encode() if isinstance(given, str) else given, PATIENCE_S)
        self.stderr = err.decode()
        assert process.returncode == status, (out[-2_000:], self.stderr[-2_000:])
        return out.decode()

    def run_without(self, streams: set[int], *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command without some of the standard streams, as the shell does with `<&-` and `>&-`."""
        return subprocess.run(
            [sys.executable, "-m", "chatkit.cli", *words],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            preexec_fn=ClosedStreams(*streams),
        )

    def publish(self, room: str, body: str) -> None:
        """Publish a message as `ann`, by a call: for tests of other commands."""
        stored_messages.publish(self.env["CHATKIT_SERVER"], room, body, self.env["CHATKIT_NAME"])

    def bodies(self, room: str) -> list[str]:
        """Return what the server has stored, by a call."""
        return stored_messages.bodies_of(self.env["CHATKIT_SERVER"], room)

    def counts(self, room: str, at_least: int) -> Callable[[], bool]:
        """Return a function that checks whether a room holds this many messages, of which none was dropped."""

        def are_stored() -> bool:
            with urllib.request.urlopen(f"{self.env['CHATKIT_SERVER']}/rooms/{room}/messages?limit=1") as answer:
                newest = json.load(answer)["messages"]
            return bool(newest) and newest[0]["seq"] >= at_least

        return are_stored


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
