"""CampfireReport: the results of the loads, as values. Knows nothing of their display."""

from typing import Literal, TypeAlias

import msgspec

LoadName: TypeAlias = Literal["posts", "room", "restart"]


class CampfireResult(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements and the errors of one load.

    `posters` clients posted to a room with `subs` readers. `p50_ms`, `p99_ms` and `max_ms` are the times from a post to
    its answer (`posts`), from a post to its delivery (`room`), or from the loss of a reader's connection until it had
    received everything again (`restart`); `down_s` is how long that restart took. `seconds` is counted until the last
    message was delivered. `load_cpu` is the processor time that the load itself used, as a share of one core.

    The audit counts acknowledged messages that are `lost` from the history or `changed`, and messages that are
    `stored_twice` or `unacknowledged`. Over all readers, `missing` messages were not delivered, `repeated` ones were
    delivered again, and `out_of_order` ones after a later one.
    """

    load: LoadName
    posters: int
    subs: int = 0
    seconds: float
    acknowledged: int
    delivered: int = 0
    posts_per_s: int
    deliveries_per_s: int = 0
    p50_ms: float
    p99_ms: float
    max_ms: float
    down_s: float | None = None
    load_cpu: float
    lost: int
    changed: int
    stored_twice: int
    unacknowledged: int
    missing: int = 0
    repeated: int = 0
    out_of_order: int = 0

    @property
    def is_flawless(self) -> bool:
        """Whether every message was stored as acknowledged, and delivered once and in order."""
        faults = (self.lost, self.changed, self.stored_twice, self.unacknowledged)
        return not any((*faults, self.missing, self.repeated, self.out_of_order))


class CampfireReport(msgspec.Struct, frozen=True, kw_only=True):
    """The results of the loads that ended. `complete` is true if these are all, including their audits."""

    server: str
    size: int
    results: list[CampfireResult]
    complete: bool

    @property
    def is_flawless(self) -> bool:
        """Whether no load had an error."""
        return all(result.is_flawless for result in self.results)
