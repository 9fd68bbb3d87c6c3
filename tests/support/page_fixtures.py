"""A browser, and servers with the page."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from page_window import OpenWindow, Window, borrowed, chromium, windows
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


@pytest.fixture(scope="module")
def shared_window(browser: Browser, server: ServerProcess) -> Iterator[Callable[[str], Window]]:
    """Return a function that returns the window of a person, which stays open for all tests of a module."""
    with windows(browser, server.url) as open_window:
        yield cache(lambda name: open_window(name).open())


@pytest.fixture
def shared_ann(shared_window: Callable[[str], Window]) -> Iterator[Window]:
    """A window for tests of what a page does once it is loaded: they leave nothing open in it."""
    with borrowed(shared_window("ann")) as window:
        yield window


@pytest.fixture
def shared_bob(shared_window: Callable[[str], Window]) -> Iterator[Window]:
    with borrowed(shared_window("bob")) as window:
        yield window
