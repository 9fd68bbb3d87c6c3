"""A browser, and servers with the page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from page_window import OpenWindow, chromium, windows
from playwright.sync_api import Browser
from serving import ServerProcess, serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("page") / "rooms.db", "--rate-limit", "0") as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve(tmp_path / "rooms.db") as server:
        yield server


@pytest.fixture
def open_window(browser: Browser, server: ServerProcess) -> Iterator[OpenWindow]:
    with windows(browser, server.url) as open_window:
        yield open_window
