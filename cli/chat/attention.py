"""What calls a person back to the terminal: the window's title with a count of unread messages, and the bell. No I/O.

The clock is an argument. The methods return the control sequences to write.
"""

from typing import Final

# The title is kept on the terminal's own stack, and the terminal reports its focus (xterm's ctlseqs).
SAVE_TITLE, RESTORE_TITLE = "\x1b[22;0t", "\x1b[23;0t"
REPORT_FOCUS, IGNORE_FOCUS = "\x1b[?1004h", "\x1b[?1004l"
BELL_S: Final = 2.0  # between two bells, so that nobody can make the terminal ring without pause
MAX_COUNT: Final = 99


class Attention:
    """Counts the messages that arrive while the person is elsewhere.

    A terminal that reports its focus says where the person is. In any other, a message is unread until a key is
    pressed.
    """

    def __init__(self, title: str, *, has_window: bool = True) -> None:
        self._title = title
        self._has_window = has_window  # if not, there is only the bell
        self._n_unread = 0
        self._has_focus = False
        self._rang_at = -BELL_S

    def begin(self) -> str:
        """Return the sequence for the start, and for the return after a stop."""
        return SAVE_TITLE + REPORT_FOCUS + self._shown_title() if self._has_window else ""

    def end(self) -> str:
        """Return the sequence that sets everything back."""
        return IGNORE_FOCUS + RESTORE_TITLE if self._has_window else ""

    def set_title(self, title: str) -> str:
        """Change the title."""
        self._title = title
        return self._shown_title()

    def arrived(self, now: float, *, is_mention: bool) -> str:
        """Count a message of another person. A mention of this person rings the bell."""
        bell = ""
        if is_mention and now - self._rang_at >= BELL_S:
            self._rang_at = now
            bell = "\a"
        if self._has_focus:
            return bell
        self._n_unread += 1
        return bell + (self._shown_title() if self._n_unread <= MAX_COUNT + 1 else "")

    def pressed(self) -> str:
        """Reset the count: a key was pressed."""
        if not self._n_unread:
            return ""
        self._n_unread = 0
        return self._shown_title()

    def focused(self, *, has_focus: bool) -> str:
        """Record that the terminal has got the focus, or lost it."""
        self._has_focus = has_focus
        return self.pressed() if has_focus else ""

    def _shown_title(self) -> str:
        if not self._has_window:
            return ""
        count = f"{MAX_COUNT}+" if self._n_unread > MAX_COUNT else str(self._n_unread)
        return f"\x1b]2;{f'({count}) ' if self._n_unread else ''}{self._title}\a"
