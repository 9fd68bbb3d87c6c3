"""`chatkit bench` as a process in a folder of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import clean_environment

PATIENCE_S = 60


class Bench:
    """Runs `chatkit bench` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.stderr = ""
        self._folder = folder
        self._env = clean_environment({"XDG_CONFIG_HOME": str(folder), "COLUMNS": "200", "TMPDIR": str(folder)})

    def start(self, *words: str, shell: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "chatkit.cli", "bench", *words]
        if shell:
            command = ["/bin/sh", "-c", f'{shell} "$@"', "sh", *command]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            env=self._env,
        )

    def run(self, *words: str, status: int = 0, shell: str = "") -> str:
        with self.start(*words, shell=shell) as process:
            return self.end(process, status)

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        return dict(json.loads(self.run(*words, "--json", status=status)))

    def end(self, process: "subprocess.Popen[str]", status: int = 0) -> str:
        out, self.stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == status, (out, self.stderr)
        return out


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def processes_in(folder: Path) -> list[str]:
    """Return what runs in a folder: servers that a bench left behind."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = process.joinpath("cwd").readlink()
            words = process.joinpath("cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if here.is_relative_to(folder):
            running.append(words.decode().replace("\0", " "))
    return running
