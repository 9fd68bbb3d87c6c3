"""The signals that end a server. Their handlers stay until its end: no further signal interrupts the shutdown."""

import signal
from collections.abc import Collection
from typing import Final

ENDS_ON: Final = (signal.SIGINT, signal.SIGTERM)


def end_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a single process: also that its terminal was closed, unless `nohup` ignores it."""
    return ENDS_ON if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*ENDS_ON, signal.SIGHUP)


def ignore_signals(numbers: Collection[signal.Signals]) -> None:
    """Ignore the signals until this process has ended. To be called in the main thread, at the end.

    Otherwise, Python would restore their default effect when it ends, and a signal would change the exit status. They
    are blocked first: one that comes in the moment in which its handler is removed would be reported as an error.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
