"""LoadReport: the result of a load, as a value. Knows nothing of its display."""

import msgspec

from chatkit.bench.load.checker import Faults


class LoadReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The parameters, the measurements and the errors of a load. Seconds are counted from the first publish on.

    `lost`, `repeated` and `out_of_order` are summed over all readers and over the comparison of acknowledgements with
    the store. `gaps` counts gaps reported to readers, `missing` the messages in them. `waited_s` is the average time
    that a sender waited because of the rate limit or an unavailable store. `complete` is true if everything was
    published, delivered and compared.
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
        """The faults in total."""
        return Faults(self.lost, self.repeated, self.out_of_order)
