"""Commands of administration on a store of their own."""

from pathlib import Path

import pytest
from admin_store import STORE
from cli_runner import CommandRunner


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    return CommandRunner(tmp_path, monkeypatch, "--backend", STORE)
