"""Fixtures that several test modules share."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import forking
import pytest
from copied_postgres import SHARED
from hypothesis import settings

from chatkit.core import fanout, presence, rooms
from chatkit.core import room as live_module

MEMORY = Path("/dev/shm")  # a file system in memory: on a disk, each new store waits for several writes
MIN_FREE_BYTES = 4 * 2**30  # a whole run needs less than 1 GiB


def can_hold_temporary_files(folder: Path) -> bool:
    """Return whether a file system has the space, and runs programs: a test installs chatkit in a temporary folder."""
    return (
        folder.is_dir()
        and shutil.disk_usage(folder).free > MIN_FREE_BYTES
        and not os.statvfs(folder).f_flag & os.ST_NOEXEC
    )


if "TMPDIR" not in os.environ and can_hold_temporary_files(MEMORY):
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and so would the commands that the tests start
forking.install()
settings.register_profile("tests", deadline=None)  # no test asserts anything about time
settings.load_profile("tests")

FOLDERS_OF_LONG_MODULES = (
    *("bench", "end_to_end", "backends", "page", "server", "litestar", "cli", "project", "mcp", "client"),
    *("pytest_plugin", "hooks", "protocols", "core", "websocket"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all processes of the run share; the process that distributes the tests removes it."""
    if SHARED not in os.environ:
        os.environ[SHARED] = tempfile.mkdtemp(prefix="chatkit-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(SHARED)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """In a whole run, fork the workers of a process that has imported the modules of all tests."""
    if config.args_source == config.ArgsSource.TESTPATHS:
        forking.fork_workers()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude all modules and test items from later garbage collections: they are 250,000 objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


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
    monkeypatch.setattr(fanout, "MAX_PAUSE_S", 0.0)
