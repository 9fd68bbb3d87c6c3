"""Report: what a load came to. A value; how it is shown, others know."""

import msgspec

from chatkit.bench.load.checker import Faults


class LoadReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What was asked for, what was measured, what was wrong. A second here is one from the first publish on.

    `lost`, `repeated` and `out_of_order` count over all readers, and over what was acknowledged against the store.
    `gaps` are those that the server told readers of, `missing` the messages in them. `waited_s` is what a sender
    waited, on average, because the server said so. `complete` says that all was published, delivered and compared.
    """

    server: str
    subs: int
    pubs: int
    rooms: int
    messages: int
    size: int
    window: int
    resume: bool
    seconds: float
    acknowledged: int
    delivered: int
    messages_per_s: float
    deliveries_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    lost: int
    repeated: int
    out_of_order: int
    gaps: int
    missing: int
    reconnects: int
    waited_s: float
    rate_limit: float
    complete: bool

    @property
    def faults(self) -> Faults:
        """What must not be."""
        return Faults(self.lost, self.repeated, self.out_of_order)
