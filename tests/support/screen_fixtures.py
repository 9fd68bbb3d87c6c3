"""A terminal for `chatkit join`, and its server: one for each test module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ServerProcess, serve
from tmux_screen import Screen, open_screen


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db") as process:
        yield process


@pytest.fixture
def screen(tmp_path: Path, server: ServerProcess) -> Iterator[Screen]:
    with open_screen(tmp_path, server.url) as screen:
        yield screen
