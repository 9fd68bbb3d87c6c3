"""The browser that the tests of a module share."""

from collections.abc import Iterator

import pytest
from page_window import chromium
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser
