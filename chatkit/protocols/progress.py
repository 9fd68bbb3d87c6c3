"""Whether a message that has begun arrives fast enough: any byte shows that a client lives, not that it means well."""

from typing import Final, NamedTuple

from chatkit.websocket.reader import FrameReader

LOOK_S: Final = 30.0  # how long a rate is measured: a phone that changes its network is silent for seconds
MIN_BYTES_PER_S: Final = 1_024  # a phone at the edge of its network sends more


class Unfinished(NamedTuple):
    """A message of which a part has come: which one, how much of it, and when that was."""

    which: int
    n_bytes: int
    since: float


def look_at(reader: FrameReader | None, before: Unfinished | None, now: float) -> tuple[Unfinished | None, bool]:
    """Return the message that is awaited, and whether it is too slow. `before` is what the last look returned."""
    n_bytes = 0 if reader is None else reader.n_unfinished_bytes
    if reader is None or not n_bytes:
        return None, False
    if before is None or before.which != reader.n_begun:
        return Unfinished(reader.n_begun, n_bytes, now), False
    if now - before.since < LOOK_S:
        return before, False
    is_slow = n_bytes - before.n_bytes < (now - before.since) * MIN_BYTES_PER_S
    return Unfinished(before.which, n_bytes, now), is_slow
