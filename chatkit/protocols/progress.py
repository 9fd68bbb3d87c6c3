"""The minimum rate at which a message must arrive once it has started. Knows nothing of keepalive."""

from typing import Final, NamedTuple

from chatkit.websocket.reader import FrameReader

RATE_INTERVAL_S: Final = 30.0  # over which a rate is measured: a phone that changes networks is silent for seconds
MIN_BYTES_PER_S: Final = 1_024  # a phone with poor reception sends more


class PartialMessage(NamedTuple):
    """A message of which a part has arrived: its number, the size of that part, and when it was measured."""

    which: int
    n_bytes: int
    since: float


def check_progress(
    reader: FrameReader | None, before: PartialMessage | None, now: float
) -> tuple[PartialMessage | None, bool]:
    """Return the partial message, if any, and whether it is too slow. `before` is the previous call's result."""
    n_bytes = 0 if reader is None else reader.n_unfinished_bytes
    if reader is None or not n_bytes:
        return None, False
    if before is None or before.which != reader.n_begun:
        return PartialMessage(reader.n_begun, n_bytes, now), False
    if now - before.since < RATE_INTERVAL_S:
        return before, False
    is_slow = n_bytes - before.n_bytes < (now - before.since) * MIN_BYTES_PER_S
    return PartialMessage(before.which, n_bytes, now), is_slow
