"""`chatkit` commands within the process of the test, in a folder of their own: for many short commands."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from chatkit.cli.main import app, build_commands, usage_sentence
from chatkit.wire.codes import ExitCode


class CommandRunner:
    """Runs commands with the same options at their end, such as `--backend URL`. `stderr` is of the last one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
        self.stderr = ""
        self._options = options
        monkeypatch.setattr("typer.testing._get_command", lambda _app: build_commands())  # otherwise built each time
        monkeypatch.chdir(folder)
        for name in ("CHATKIT_SERVER", "CHATKIT_BACKEND", "CHATKIT_TOKEN", "CHATKIT_NAME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in (("XDG_CONFIG_HOME", str(folder)), ("LOGNAME", "carol"), ("COLUMNS", "120"), ("TZ", "UTC")):
            monkeypatch.setenv(name, value)

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command, check its exit code and return its output."""
        result = CliRunner().invoke(app, [*words, *self._options], prog_name="chatkit", standalone_mode=False)
        self.stderr = result.stderr
        code = result.return_value or result.exit_code
        if isinstance(result.exception, typer.TyperException):
            self.stderr += f"chatkit: {usage_sentence(result.exception)}\n"
            code = ExitCode.WRONG_USAGE
        assert code == status, (result.stdout, result.stderr, result.exception)
        return result.stdout

    def json(self, *words: str) -> Any:
        """Run a command with `--json` and return the one object that it prints."""
        (view,) = self.rows(*words)
        return view

    def rows(self, *words: str) -> list[Any]:
        """Run a command with `--json` and return the objects that it prints."""
        return [json.loads(line) for line in self.run(*words, "--json").splitlines()]

    def refused(self, *words: str, status: int = 2) -> str:
        """Run a command that fails, and return the one sentence that it prints."""
        assert self.run(*words, status=status) == ""
        sentence = self.stderr.removeprefix("chatkit: ")
        assert sentence.endswith("\n")
        assert sentence.count("\n") == 1
        return sentence.rstrip("\n")
