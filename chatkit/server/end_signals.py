"""The signals that end a server. Once one has arrived, none interrupts the shutdown."""

import signal
from collections.abc import Iterable
from typing import Final

ENDS_ON: Final = (signal.SIGINT, signal.SIGTERM)


def ignore_signals(numbers: Iterable[signal.Signals]) -> None:
    """Ignore the signals until this process has ended."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
