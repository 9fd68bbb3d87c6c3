"""A shell for commands on the server of a test module."""

from pathlib import Path

import pytest
from cli_process import Shell
from serving import ServerProcess


@pytest.fixture
def shell(server: ServerProcess, tmp_path: Path) -> Shell:
    return Shell(tmp_path, server.url)
