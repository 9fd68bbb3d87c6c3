"""A terminal for `chatkit join`, and its server: one for each test module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ServerProcess, serve
from tmux_screen import Screen


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
