"""What sessions share, and where one starts to read."""

import msgspec

from chatkit.core.history_queue import HistoryQueue
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Limits
from chatkit.session.counts import RefusalCounts
from chatkit.session.scheduling import JoinSlots
from chatkit.wire import protocol


class SessionContext(msgspec.Struct, frozen=True):
    """What all sessions of a server share.

    `history` is the number of messages with which a join without a cursor starts. `join_slots` limits the joins that
    are served at a time, so that publishing never waits behind thousands of them.
    """

    hub: Hub
    server: str
    limits: Limits
    wire_limits: protocol.WireLimits
    history: int
    history_queue: HistoryQueue = msgspec.field(default_factory=HistoryQueue)
    join_slots: JoinSlots = msgspec.field(default_factory=JoinSlots)
    refusals: RefusalCounts = msgspec.field(default_factory=RefusalCounts)


class StartPosition(msgspec.Struct, frozen=True):
    """The start of a join: after a cursor, or `history` messages before the end (None: the server's default)."""

    after: Cursor | None = None
    history: int | None = None
