"""ChaosReport: the result of a chaos run, as a value. Knows nothing of its display."""

from collections.abc import Sequence

import msgspec

from chatkit.bench.chaos.checker import Findings
from chatkit.bench.chaos.consumer_checker import ConsumerFindings
from chatkit.bench.chaos.receiver_checker import ReceiverFindings
from chatkit.bench.chaos.recovery import RecoveryTimes


class ChaosReport(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters, the measurements and the errors of a run.

    `Findings` documents the counts of incorrect messages, `ConsumerFindings` those of a consumer, and
    `ReceiverFindings` those of a receiver of webhooks. `gaps` counts
    gaps reported to followers, `ghosts` members that are listed although they left, `absent` members that are connected
    but not listed, `deaf` followers that never recovered, `crashes` servers and workers that ended by themselves.
    `errors` are tracebacks in their logs. `complete` is true if everything was published, delivered and compared.
    """

    servers: int
    store: str
    rooms: int
    subs: int
    pubs: int
    workers: int
    rate: float
    kill_store: bool
    seed: int
    seconds: float
    outages: Sequence[RecoveryTimes]
    acknowledged: int
    stored: int
    delivered: int
    moves: int
    worker_kills: int
    worker_pauses: int
    consumers: Sequence[ConsumerFindings]
    receivers: Sequence[ReceiverFindings]
    lost: int
    untrue: int
    missing: int
    repeated: int
    out_of_order: int
    misordered: int
    stored_twice: int
    holes: int
    gaps: int
    ghosts: int
    absent: int
    deaf: int
    crashes: int
    errors: Sequence[str]
    complete: bool

    @property
    def has_gaps(self) -> bool:
        """Whether a reader, a worker or a receiver received a gap."""
        return bool(self.gaps or any(each.gaps for each in self.consumers) or any(each.gaps for each in self.receivers))

    @property
    def is_flawless(self) -> bool:
        """Whether the run is complete and found no errors. A correctly reported gap is not an error."""
        findings = Findings(*(getattr(self, name) for name in Findings.__struct_fields__))
        has_errors = findings or self.ghosts or self.absent or self.deaf or self.crashes
        return self.complete and not (has_errors or any(self.consumers) or any(self.receivers))
