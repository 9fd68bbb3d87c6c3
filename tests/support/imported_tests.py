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
    read_constants()


def read_constants() -> None:
    """Let Hypothesis read the constants of all modules, which are among the values that it tries.

    Without a folder of an earlier run, this takes three seconds: each worker would do it in its first test.
    """
    hypothesis = importlib.import_module("hypothesis")  # only now, as pytest changes its assertions
    texts = hypothesis.strategies.tuples(*[hypothesis.strategies.text()] * 3)
    hypothesis.settings(derandomize=True, database=None)(hypothesis.given(texts)(lambda _: None))()
