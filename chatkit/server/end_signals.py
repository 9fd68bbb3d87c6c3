"""The signals that end a server. Once one has arrived, none interrupts the shutdown."""

import signal
from collections.abc import Iterable
from typing import Final

ENDS_ON: Final = (signal.SIGINT, signal.SIGTERM)


def end_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a single process: also that its terminal was closed, unless `nohup` ignores it."""
    return ENDS_ON if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*ENDS_ON, signal.SIGHUP)


def ignore_signals(numbers: Iterable[signal.Signals]) -> None:
    """Ignore the signals until this process has ended."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
