"""Fixtures that several test modules share."""

import forking
import pytest
from hypothesis import settings

from chatkit.core import fanout, presence, rooms
from chatkit.core import room as live_module

forking.install()
settings.register_profile("tests", deadline=None)  # no test asserts anything about time
settings.load_profile("tests")

FOLDERS_OF_LONG_MODULES = ("bench", "end_to_end", "page", "server", "backends", "project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that take long, so that none of them is still running when all others have ended."""
    order = {folder: place for place, folder in enumerate(FOLDERS_OF_LONG_MODULES)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and give up at once: what is tested is what happens, not when."""
    monkeypatch.setattr(rooms, "RETRY_S", 0.001)
    monkeypatch.setattr(presence, "DELAY_S", 0.001)
    monkeypatch.setattr(presence, "INTERVAL_S", 0.01)
    monkeypatch.setattr(live_module, "MAX_RETRY_S", 0.001)
    monkeypatch.setattr(fanout, "PACE", 0.0)
