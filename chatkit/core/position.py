"""Where a reader goes on in a room's log, and which messages it missed. The only place that decides on gaps.

A reader that subscribes, a subscription that reads on and a page of history all ask `resume`, so they agree:

1. A cursor of this log goes on behind itself. If the messages that follow it are no longer kept, they are a gap.
2. Any other cursor is of a log that is gone: its epoch differs, or it is ahead of a log that lost its end. The reader
   goes on with everything that the log has, after a gap of the reason `epoch`.
3. A gap says that messages are missing. So a reader at position 0 gets none when a log begins again at 1: it had
   nothing, and it misses nothing. It learns the new epoch where it learns any epoch, beside the messages.

Synchronous, and without I/O: the callers bring the log's head.
"""

from chatkit.core.model import Cursor, Gap, Head


def start_before_end(head: Head, n_messages: int) -> Cursor:
    """Return the position from which the newest `n_messages` follow, or as many as are kept."""
    return Cursor(head.epoch, max(head.last - n_messages, head.first - 1))


def is_in_log(cursor: Cursor | int, head: Head) -> bool:
    """Return whether the log with this head is the one that the cursor was given for.

    A bare number belongs to whatever log there is.
    """
    return isinstance(cursor, int) or (cursor.epoch == head.epoch and cursor.seq <= head.last)


def resume(had: Cursor | int, head: Head, *, keeps_history: bool = True) -> tuple[Cursor, Gap | None]:
    """Return the position at which a reader that stood at `had` goes on, and the gap before it, if there is one."""
    seq = had if isinstance(had, int) else had.seq
    kept_from = Cursor(head.epoch, head.first - 1)
    if not is_in_log(had, head):
        misses_nothing = seq == kept_from.seq == 0
        return kept_from, None if misses_nothing else Gap(seq, head.first, "epoch")
    if seq < kept_from.seq:
        return kept_from, Gap(seq, head.first, "trimmed" if keeps_history else "no-history")
    return Cursor(head.epoch, seq), None
