"""Writes the snapshots of the workers as text for Prometheus. Only a scrape imports this module, and its library.

The values are read from snapshots when they are asked for, so that no metric object is touched while messages flow.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from chatkit.core.measures import BOUNDS_S, Durations
from chatkit.server.metrics import METRICS, WORKER, WORKER_METRICS, MetricDefinition, MetricKind, Snapshots
from chatkit.server.snapshot import Snapshot


def render(snapshots: Snapshots) -> bytes:
    """Return the text."""
    registry = CollectorRegistry()
    registry.register(_SnapshotCollector(snapshots))
    return generate_latest(registry)


class _SnapshotCollector(Collector):
    def __init__(self, snapshots: Snapshots) -> None:
        self._all = snapshots
        self._present = {str(number): snapshot for number, snapshot in sorted(snapshots.items()) if snapshot}

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._workers()
        for metric in METRICS:
            yield _family(metric, self._present)

    def _workers(self) -> Iterator[Metric]:
        (up_name, up_meaning), (build_name, build_meaning) = WORKER_METRICS
        up = GaugeMetricFamily(up_name, up_meaning, labels=[WORKER])
        for number, snapshot in sorted(self._all.items()):
            up.add_metric([str(number)], snapshot is not None)
        build = GaugeMetricFamily(build_name, build_meaning, labels=[WORKER, "version", "python"])
        for worker, snapshot in self._present.items():
            build.add_metric([worker, snapshot.version, snapshot.python], 1)
        yield from (up, build)


def _family(metric: MetricDefinition, snapshots: Mapping[str, Snapshot]) -> Metric:
    labels = [WORKER] if metric.label is None else [WORKER, metric.label]
    family: Any = _CLASSES[metric.kind](metric.name, metric.meaning, labels=labels)
    for worker, snapshot in snapshots.items():
        value = metric.read(snapshot)
        if isinstance(value, Durations):
            family.add_metric([worker], _buckets(value), value.sum_s)
        elif isinstance(value, Mapping):
            for key, each in sorted(value.items()):
                family.add_metric([worker, key], each)
        elif value is not None:
            family.add_metric([worker], value)
    found: Metric = family
    return found


_CLASSES = {
    MetricKind.COUNTER: CounterMetricFamily,
    MetricKind.GAUGE: GaugeMetricFamily,
    MetricKind.HISTOGRAM: HistogramMetricFamily,
}


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    bounds = [*(str(bound_s) for bound_s in BOUNDS_S), "+Inf"]
    return list(zip(bounds, accumulate(durations.counts), strict=True))
