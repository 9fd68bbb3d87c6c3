"""ChaosReport: what a run of chaos came to. A value; how it is shown, others know."""

from collections.abc import Sequence

import msgspec

from chatkit.bench.chaos.checker import Findings
from chatkit.bench.chaos.recovery import RecoveryTimes


class ChaosReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, what was done, what was wrong.

    Of the numbers of wrong messages, `Findings` says what they mean. `gaps` are those that followers were told of.
    `ghosts` are members who stand although they are gone, `absent` those who do not although they are there, `deaf`
    followers who never heard again, `crashes` servers that ended by themselves. `errors` are tracebacks in their logs.
    `complete` says that everything was published, heard and compared.
    """

    servers: int
    store: str
    rooms: int
    subs: int
    pubs: int
    rate: float
    kill_store: bool
    seed: int
    seconds: float
    outages: Sequence[RecoveryTimes]
    acknowledged: int
    stored: int
    delivered: int
    moves: int
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
    def is_flawless(self) -> bool:
        """Whether nothing is as it must not be. A gap that was told, and is one, is no flaw."""
        findings = Findings(*(getattr(self, name) for name in Findings.__struct_fields__))
        return self.complete and not (findings or self.ghosts or self.absent or self.deaf or self.crashes)
