"""Counts calls, so that a test of the cost of work does not depend on the machine."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chatkit

_PACKAGE = str(Path(chatkit.__file__).parent)


def calls_of(work: Callable[[], object]) -> int:
    """Return how many calls the work makes, of Python's functions and of C's."""
    count = 0

    def count_call(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.disable()
    sys.setprofile(count_call)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


class OwnCalls:
    """The calls of the package's own functions, and those of C's functions that they make, in this thread."""

    def __init__(self) -> None:
        self.of_python = 0
        self.of_c = 0

    def count(self, frame: Any, event: str, _argument: Any) -> None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            self.of_python += event == "call"
            self.of_c += event == "c_call"


@contextmanager
def counting() -> Iterator[OwnCalls]:
    """Count the package's own calls in the block, which may wait for the event loop."""
    calls = OwnCalls()
    gc.disable()
    sys.setprofile(calls.count)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        gc.enable()
