"""`python -m short_times` is `chatkit` with shorter times: those that the environment of `shortened` names."""

import importlib
import json
import os
import sys
from pathlib import Path

from chatkit.cli.main import main

COMMAND = [sys.executable, "-m", "short_times"]
VARIABLE = "CHATKIT_TESTS_TIMES"


def shortened(constant: str, time_s: float) -> dict[str, str]:
    """Return the environment in which a constant, such as `chatkit.core.presence.TTL_S`, has another value."""
    return {VARIABLE: json.dumps([constant, time_s]), "PYTHONPATH": str(Path(__file__).parent)}


def shorten(constant: str, time_s: float) -> None:
    """Set a constant of a module, which must exist and be longer."""
    name, _, attribute = constant.rpartition(".")
    module = importlib.import_module(name)
    assert time_s < getattr(module, attribute)
    setattr(module, attribute, time_s)


if __name__ == "__main__":
    shorten(*json.loads(os.environ[VARIABLE]))
    main()
