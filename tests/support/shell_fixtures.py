"""A shell for commands, and their server: one for each test module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Shell
from serving import ServerProcess, serve


@pytest.fixture(scope="module")
def shell_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "2000") as process:
        yield process


@pytest.fixture
def shell(shell_server: ServerProcess, tmp_path: Path) -> Shell:
    return Shell(tmp_path, shell_server.url)
