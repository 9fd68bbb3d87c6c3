"""WorkEvent: what a worker of a consumer reports to the benchmark. Does no I/O."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

MAX_EVENT_BYTES: Final = 4_096  # PIPE_BUF on Linux: events of several workers in one pipe are not mixed


class WorkEventKind(StrEnum):
    """What a worker does with messages of a lease."""

    RECEIVED = "received"
    HANDLED = "handled"
    ACKNOWLEDGING = "acknowledging"  # before the call
    ACKNOWLEDGED = "acknowledged"  # after its answer
    REFUSED = "refused"  # the answer to its first call was that the lease has run out
    GAP = "gap"


class WorkEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event of one worker. `digests` are those of received messages; `seqs` of a gap are both its ends, exclusive.

    An event is written before the worker goes on, so what a killed worker has done is known.
    """

    kind: WorkEventKind
    consumer: str
    lease: str
    seqs: Sequence[int]
    digests: Sequence[int] = ()
