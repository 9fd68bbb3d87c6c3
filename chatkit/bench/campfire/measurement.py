"""Measurement: what posters and readers of a room do from one moment on, in how much time and processor time."""

import time

from chatkit.bench.campfire.audit import AuditFaults
from chatkit.bench.campfire.poster import Posters
from chatkit.bench.campfire.readers import RoomReaders
from chatkit.bench.campfire.report import CampfireResult, LoadName


class Measurement:
    """Measures from its creation to `end_posting`, when all posts are answered, and to `end`, when all are delivered.

    What happened before its creation is not counted, but its faults are.
    """

    def __init__(self, load: LoadName, posters: Posters, readers: RoomReaders) -> None:
        self._load = load
        self._posters = posters
        self._readers = readers
        self._times = {"posts": posters.latencies, "room": readers.latencies, "restart": readers.blackouts}[load]
        self._times.clear()
        self._posts_before, self._deliveries_before = len(posters.acknowledged), readers.delivered
        self._began_at, self._cpu_at = time.perf_counter(), time.process_time()
        self._posting_s = self._seconds = self._cpu_s = 0.0

    def end_posting(self) -> None:
        """Note the time at which the last post was answered."""
        self._posting_s = time.perf_counter() - self._began_at

    def end(self) -> None:
        """Note the time at which the last message was delivered."""
        self._seconds = time.perf_counter() - self._began_at
        self._cpu_s = time.process_time() - self._cpu_at

    def result(self, audited: AuditFaults, down_s: float | None) -> CampfireResult:
        """Return the result, given the faults that the audit found."""
        posters, readers = self._posters, self._readers
        delivered, acknowledged = readers.delivered, len(posters.acknowledged)
        faults = readers.faults(posters.last)
        p50_ms, p99_ms = self._times.percentiles_ms(0.5, 0.99)
        return CampfireResult(
            load=self._load,
            posters=len(posters),
            subs=len(readers),
            seconds=round(self._seconds, 3),
            acknowledged=acknowledged,
            delivered=delivered,
            posts_per_s=round((acknowledged - self._posts_before) / self._posting_s),
            deliveries_per_s=round((delivered - self._deliveries_before) / self._seconds),
            p50_ms=round(p50_ms, 2),
            p99_ms=round(p99_ms, 2),
            max_ms=round(self._times.longest_ns / 1e6, 2),
            down_s=None if down_s is None else round(down_s, 3),
            load_cpu=round(self._cpu_s / self._seconds, 3),
            lost=audited.lost,
            changed=audited.changed,
            stored_twice=audited.stored_twice,
            unacknowledged=audited.unacknowledged,
            missing=faults.lost + readers.gaps,
            repeated=faults.repeated,
            out_of_order=faults.out_of_order,
        )
