"""The job of the process of the receivers, and what it reports. Does no I/O."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class ReceiverJob(msgspec.Struct, frozen=True):
    """What the process of the receivers does: it accepts connections of `socket`, and writes to `events`.

    Both are file descriptors. `secrets` has the secret of each receiver, whose path is its index; `epoch` is that of
    the room's log.
    """

    socket: int
    events: int
    secrets: Sequence[str]
    epoch: str


class ReceiverEventKind(StrEnum):
    """What happens to a request."""

    ARRIVED = "arrived"
    ACCEPTED = "accepted"  # before the answer is sent
    GAP_ARRIVED = "gap arrived"
    GAP_ACCEPTED = "gap accepted"
    FORGED = "forged"  # its signature is not valid
    REFUSED = "refused"  # on purpose: answered with 500, left without an answer, or disconnected


class ReceiverEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event of one receiver, about the message `seq`, or about the messages from `seq` to `last` of a gap."""

    kind: ReceiverEventKind
    receiver: int
    seq: int = 0
    last: int = 0
    digest: int = 0
