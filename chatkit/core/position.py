"""Position arithmetic: where a reader continues in a room's log, and which messages it missed.

This module alone decides on gaps. A new subscription, a subscription that continues, and a page of history all call
`resume`, so they agree:

1. A reader with a cursor of this log continues after it. If the next messages are no longer kept, they are a gap.
2. Any other cursor belongs to a log that is gone: its epoch differs, or it is ahead of a log that lost its end. The
   reader gets a gap with the reason `epoch`, and then everything that the log has.
3. A gap means that messages are missing. So a reader at position 0 gets no gap when a log starts again at 1: it had no
   messages, and it misses none. It gets the new epoch in the usual way, with the messages.

Synchronous and without I/O: the callers pass the head of the log.
"""

from chatkit.core.model import Cursor, Gap, Head


def start_before_end(head: Head, n_messages: int) -> Cursor:
    """Return the position before the newest `n_messages`, or before all messages if fewer are kept."""
    return Cursor(head.epoch, max(head.last - n_messages, head.first - 1))


def is_in_log(cursor: Cursor | int, head: Head) -> bool:
    """Return whether the cursor belongs to the log with this head. A bare number belongs to every log."""
    return isinstance(cursor, int) or (cursor.epoch == head.epoch and cursor.seq <= head.last)


def resume(had: Cursor | int, head: Head, *, keeps_history: bool = True) -> tuple[Cursor, Gap | None]:
    """Return the position from which a reader that had read up to `had` continues, and the gap before it, if any."""
    seq = had if isinstance(had, int) else had.seq
    kept_from = Cursor(head.epoch, head.first - 1)
    if not is_in_log(had, head):
        misses_nothing = seq == kept_from.seq == 0
        return kept_from, None if misses_nothing else Gap(seq, head.first, "epoch")
    if seq < kept_from.seq:
        return kept_from, Gap(seq, head.first, "trimmed" if keeps_history else "no-history")
    return Cursor(head.epoch, seq), None
