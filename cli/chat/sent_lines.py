"""The lines that a chat has sent: which are not stored yet, and which of those are not shown yet. No I/O."""

import asyncio
from collections.abc import Callable

from chatkit.core.model import Cursor, Receipt


class SentLines:
    """The lines in order. `on_change` is called after every change."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._unanswered: dict[asyncio.Future[Receipt], str] = {}  # at most 1,000: the client sends no more
        self._unshown: dict[Cursor, str] = {}  # stored, and shown as soon as the room delivers them; few, by then
        self._last_stored: Cursor | None = None
        self._last_shown = Cursor("", 0)

    @property
    def all_stored(self) -> bool:
        return not self._unanswered

    @property
    def all_shown(self) -> bool:
        """Whether all stored lines have been shown."""
        stored, shown = self._last_stored, self._last_shown
        return stored is None or (stored.epoch == shown.epoch and stored.seq <= shown.seq)

    @property
    def waiting(self) -> list[str]:
        """The texts of the lines that are not shown yet; those that have none are left out."""
        return [text for text in (*self._unshown.values(), *self._unanswered.values()) if text]

    @property
    def last_shown(self) -> Cursor:
        return self._last_shown

    def add(self, answer: asyncio.Future[Receipt], text: str = "") -> None:
        """Add a line that was sent. Its text is what to show until the room delivers it."""
        self._unanswered[answer] = text
        self._on_change()

    def answered(self, answer: asyncio.Future[Receipt]) -> None:
        """Remove a line from those that are not stored: it is, or it was refused."""
        text = self._unanswered.pop(answer, "")
        if not answer.cancelled() and answer.exception() is None:
            # The answer may come before the event that the log was reset. Numbers of two logs are not comparable.
            at, last = answer.result().message.cursor, self._last_stored
            if last is None or last.epoch != at.epoch or last.seq < at.seq:
                self._last_stored = at
            if text and not self._is_shown(at):
                self._unshown[at] = text
        self._on_change()

    def shown(self, cursor: Cursor) -> None:
        """Record that everything up to a position was shown, or will never be."""
        self._last_shown = cursor
        self._unshown = {at: text for at, text in self._unshown.items() if not self._is_shown(at)}
        self._on_change()

    def forget(self, epoch: str) -> None:
        """Stop waiting for lines in a log that was reset: they will not arrive."""
        self._unshown = {at: text for at, text in self._unshown.items() if at.epoch != epoch}
        if self._last_stored is not None and self._last_stored.epoch == epoch:
            self._last_stored = None
        self._on_change()

    def _is_shown(self, at: Cursor) -> bool:
        return at.epoch == self._last_shown.epoch and at.seq <= self._last_shown.seq
