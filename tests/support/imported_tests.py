"""Imports the modules of all tests, for the process that the workers of a run are forked from. See `forking`."""

import importlib
import sys
from contextlib import suppress
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


class Importer:
    """A plugin of pytest that imports the modules as the collection of their tests does, and collects no test."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool:
        modules = sorted(TESTS.glob("*/test_*.py"))
        sys.path[:0] = sorted({str(path.parent) for path in modules})
        for path in modules:
            with suppress(Exception):  # the workers import it again, and report the error
                importlib.import_module(path.stem)
        return True


def load() -> None:
    """Import with pytest's assertions, and with its filters of warnings."""
    pytest.main(["-p", "no:cacheprovider", str(TESTS)], plugins=[Importer()])
