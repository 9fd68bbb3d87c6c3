"""BatchNumbers: finds the batches of a store of which this process was not notified. No I/O.

Each batch has a number, which its transaction takes before it commits. A process notifies the others after the commit,
so no notification comes if it is killed in between. The numbers of transactions that fail are missing, too.
"""

MAX_CHECKS = 10  # of a missing number: a commit that takes longer than so many pings is not waited for
MAX_BEYOND = 100_000  # numbers that are kept behind a missing one: while no check is possible, there may be many


class BatchNumbers:
    """The numbers of which this process was notified. `check` is called regularly."""

    def __init__(self) -> None:
        self._known_to = 0  # all numbers up to this one are known, or no longer waited for
        self._known_beyond: set[int] = set()
        self._due = 0  # the newest number at an earlier check: those up to it should be known by now
        self._last_taker: int | None = None  # no later transaction can have taken a number up to `_due`
        self._n_checks = 0  # in which a number up to `_due` was missing
        self._is_restarted = False  # transactions with numbers up to `_due` may not have ended yet

    def restart(self, newest: int) -> None:
        """Miss all numbers up to the newest one together: their notifications may have come before."""
        self._known_beyond.clear()
        self._known_to = self._due = newest
        self._last_taker, self._n_checks, self._is_restarted = None, 0, True

    def add(self, number: int) -> None:
        """Record that this process knows of a batch."""
        is_next = number == self._known_to + 1
        if is_next or (number > self._known_to and len(self._known_beyond) < MAX_BEYOND):
            self._known_beyond.add(number)
            self._advance()

    def check(self, newest: int, oldest_running: int) -> bool:
        """Return whether a batch is missing that was numbered before the previous check.

        `newest` is the newest number in the store, and `oldest_running` the first transaction that may not have ended.
        The same number is missing again at the next check, until `wait_for` was called and all those transactions have
        ended, so that a comparison of the rooms includes them.
        """
        if newest < self._due:  # the store was restored; a batch after `newest` may be known already
            self.restart(newest)
            return True
        is_missing = self._is_restarted or self._known_to < self._due
        if is_missing:
            self._n_checks += 1
            is_decided = self._last_taker is not None and self._last_taker < oldest_running
            if is_decided or self._n_checks >= MAX_CHECKS:
                self._known_to = max(self._known_to, self._due)
                self._is_restarted = False
                self._known_beyond = {number for number in self._known_beyond if number > self._known_to}
                self._advance()
        if not self._is_restarted and self._known_to >= self._due:
            self._due, self._last_taker, self._n_checks = max(newest, self._known_to), None, 0
        return is_missing

    def wait_for(self, transaction: int) -> None:
        """Wait for all transactions up to one that began after the last check."""
        if self._last_taker is None:
            self._last_taker = transaction

    def _advance(self) -> None:
        while self._known_to + 1 in self._known_beyond:
            self._known_to += 1
            self._known_beyond.discard(self._known_to)
