"""AnswerDeadline: how long the server may leave commands unanswered on one connection. The clock is an argument.

A server that answers WebSocket pings can still have stopped answering commands: pings are answered by another layer.
"""

from typing import Final

from chatkit.errors import Unavailable

ANSWER_TIMEOUT_S: Final = 30.0  # as for a call over HTTP; a server answers after 5 s that its store is unavailable


class AnswerDeadline:
    """The commands that wait for an answer. Each answer starts the time again: a slow server is not a silent one."""

    def __init__(self) -> None:
        self._refs: set[int] = set()
        self._since: float | None = None  # of the last answer, or of the first command after a time without any

    def sent(self, ref: int, now: float) -> None:
        """Register a command that was sent."""
        if not self._refs:
            self._since = now
        self._refs.add(ref)

    def answered(self, ref: int, now: float) -> bool:
        """Register an answer; return whether a command waited for it."""
        if ref not in self._refs:
            return False
        self._refs.discard(ref)
        self._since = now if self._refs else None
        return True

    def forget(self, ref: int) -> None:
        """Do not wait for this command any longer."""
        self._refs.discard(ref)
        if not self._refs:
            self._since = None

    def clear(self) -> None:
        """Start a new connection."""
        self._refs.clear()
        self._since = None

    def remaining_s(self, now: float) -> float | None:
        """Return the seconds until the deadline, at least 0; None while no command waits."""
        return None if self._since is None else max(0.0, self._since + ANSWER_TIMEOUT_S - now)

    def error(self) -> Unavailable:
        """Return the error of a connection whose deadline is over."""
        return Unavailable(f"the server answers no commands: there was no answer for {ANSWER_TIMEOUT_S:g} s")
