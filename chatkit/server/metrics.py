"""The metrics of the server, each with its name, kind, labels and meaning, and `GET /metrics`, which shows them.

No label is a value that clients choose, such as the name of a room. `exposition.py` writes the text.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from litestar import Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from chatkit.core.measures import Durations
from chatkit.errors import Forbidden, RateLimited, Unauthorized, Unavailable
from chatkit.server.admission import Admission
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.operator import check_operator
from chatkit.server.snapshot import Snapshot
from chatkit.wire.costs import LIST_COST

Snapshots: TypeAlias = Mapping[int, Snapshot | None]
"""The snapshot of each worker, by its number; None if the worker did not answer in time."""

Gather: TypeAlias = Callable[[], Awaitable[Snapshots]]

MEDIA_TYPE: Final = "text/plain; version=0.0.4"  # Prometheus' text format
WORKER: Final = "worker"  # the label that every metric has
# Shown from the start, so that Prometheus notices the first refusal.
EXPECTED_CODES: Final = (Forbidden.code, RateLimited.code, Unauthorized.code, Unavailable.code)


class MetricKind(StrEnum):
    """The kinds of metrics, as Prometheus names them."""

    COUNTER = "counter"  # grows, and starts at 0 with the process
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class MetricDefinition(NamedTuple):
    """One metric. `read` returns its value, or a value for each value of `label`; None if the system has no value."""

    name: str
    kind: MetricKind
    meaning: str
    read: Callable[[Snapshot], float | Durations | Mapping[str, float] | None]
    label: str | None = None


_COUNTER, _GAUGE, _HISTOGRAM = MetricKind

METRICS: Final = (
    MetricDefinition(
        "chatkit_store_available",
        _GAUGE,
        "1 if messages can be read from the store and written to it, otherwise 0.",
        lambda of: of.hub.is_store_available,
    ),
    MetricDefinition(
        "chatkit_connections",
        _GAUGE,
        "Open connections: WebSockets in plain text (text) and in chatkit.v1 (json), and HTTP streams (stream).",
        lambda of: of.connections,
        "kind",
    ),
    MetricDefinition(
        "chatkit_connections_opened_total",
        _COUNTER,
        "Connections that were opened, also those that were refused after their handshake.",
        lambda of: of.connections_opened,
        "kind",
    ),
    MetricDefinition(
        "chatkit_connections_limit",
        _GAUGE,
        "The most connections that the worker accepts (--max-connections, divided among the workers).",
        lambda of: of.max_connections,
    ),
    MetricDefinition(
        "chatkit_messages_published_total",
        _COUNTER,
        "Messages that were committed.",
        lambda of: of.hub.n_published,
    ),
    MetricDefinition(
        "chatkit_messages_repeated_total",
        _COUNTER,
        "Messages that were published again with a known key, and not stored a second time.",
        lambda of: of.hub.n_repeated,
    ),
    MetricDefinition(
        "chatkit_messages_delivered_total",
        _COUNTER,
        "Messages that were written to the connections of readers: one message to ten readers counts ten times.",
        lambda of: of.hub.readers.n_delivered,
    ),
    MetricDefinition(
        "chatkit_messages_pending",
        _GAUGE,
        "Messages that wait for their commit.",
        lambda of: of.hub.n_pending,
    ),
    MetricDefinition(
        "chatkit_commit_seconds",
        _HISTOGRAM,
        "How long the store took to commit a batch of messages.",
        lambda of: of.hub.commit,
    ),
    MetricDefinition(
        "chatkit_commits_failed_total",
        _COUNTER,
        "Batches of messages that the store did not commit. Their senders were informed.",
        lambda of: of.hub.n_failed_commits,
    ),
    MetricDefinition(
        "chatkit_fanout_seconds",
        _HISTOGRAM,
        "The time from the commit of a message until it is written for the last of the readers that keep up,"
        " for the oldest message of each delivery to a room.",
        lambda of: of.hub.fanout,
    ),
    MetricDefinition(
        "chatkit_rooms_read",
        _GAUGE,
        "Rooms that have a reader in this worker.",
        lambda of: of.hub.n_rooms,
    ),
    MetricDefinition(
        "chatkit_readers",
        _GAUGE,
        "Readers. A connection has one for each room that it joined.",
        lambda of: of.hub.readers.n_readers,
    ),
    MetricDefinition(
        "chatkit_reader_lag_messages",
        _GAUGE,
        "Messages that readers have not received yet, of all readers together.",
        lambda of: of.hub.readers.lag,
    ),
    MetricDefinition(
        "chatkit_reader_lag_max_messages",
        _GAUGE,
        "Messages that the reader which is furthest behind has not received yet.",
        lambda of: of.hub.readers.max_lag,
    ),
    MetricDefinition(
        "chatkit_readers_far_behind",
        _GAUGE,
        "Readers that are at least 1,000 messages behind.",
        lambda of: of.hub.readers.n_far_behind,
    ),
    MetricDefinition(
        "chatkit_members",
        _GAUGE,
        "Members of all rooms, on all servers of the store. Every worker reports the same number: do not add them up.",
        lambda of: of.hub.n_members,
    ),
    MetricDefinition(
        "chatkit_refusals_total",
        _COUNTER,
        "Requests, connections and commands that were refused, by the code of the error.",
        lambda of: dict.fromkeys(EXPECTED_CODES, 0) | of.refusals,
        "code",
    ),
    MetricDefinition(
        "chatkit_clients_paused_total",
        _COUNTER,
        "How often a client had used up its allowance for commands and was made to wait.",
        lambda of: of.n_pauses,
    ),
    MetricDefinition(
        "chatkit_http_responses_total",
        _COUNTER,
        "HTTP responses by status.",
        lambda of: {str(status): count for status, count in of.responses.items()},
        "status",
    ),
    MetricDefinition(
        "chatkit_webhook_requests_total",
        _COUNTER,
        "Requests to webhooks, by whether the receiver accepted them (delivered) or not (failed).",
        lambda of: {"delivered": of.hub.webhooks.n_delivered, "failed": of.hub.webhooks.n_failed},
        "result",
    ),
    MetricDefinition(
        "chatkit_webhooks",
        _GAUGE,
        "Webhooks of the store, by whether they are parked. Every worker reports the same numbers: do not add them up.",
        lambda of: {
            "active": of.hub.webhooks.n_webhooks - of.hub.webhooks.n_parked,
            "parked": of.hub.webhooks.n_parked,
        },
        "state",
    ),
    # As in the libraries of Prometheus, so that dashboards for any program show them.
    MetricDefinition(
        "process_start_time_seconds",
        _GAUGE,
        "When the worker's process started, in Unix seconds.",
        lambda of: of.process.started_s,
    ),
    MetricDefinition(
        "process_cpu_seconds_total",
        _COUNTER,
        "Processor time that the worker has used.",
        lambda of: of.process.cpu_s,
    ),
    MetricDefinition(
        "process_resident_memory_bytes",
        _GAUGE,
        "Memory that the worker uses.",
        lambda of: of.process.resident_bytes,
    ),
    MetricDefinition(
        "process_open_fds",
        _GAUGE,
        "Files and sockets that the worker has open.",
        lambda of: of.process.n_files,
    ),
    MetricDefinition(
        "process_max_fds",
        _GAUGE,
        "The most files and sockets that the worker may open.",
        lambda of: of.process.max_files,
    ),
)
# Not read from the snapshot of a worker.
WORKER_METRICS: Final = (
    ("chatkit_worker_up", "1 if the worker answered within a second, otherwise 0."),
    ("chatkit_build_info", "1, with the versions of chatkit (version) and Python (python) as labels."),
)


@get("/metrics")
async def metrics(request: HttpRequest, admission: NamedDependency[Admission], state: State) -> Response[bytes]:
    """Show the counts of all workers as text for Prometheus."""
    check_operator(request, admission)
    await admission.charge(request, LIST_COST)
    gather: Gather = state.gather
    body = await asyncio.to_thread(_render, await gather())  # some milliseconds for many workers
    return Response(body, media_type=MEDIA_TYPE)


def _render(snapshots: Snapshots) -> bytes:
    from chatkit.server.exposition import render  # noqa: PLC0415  # most servers are never asked, and it takes 25 ms

    return render(snapshots)


def names() -> Iterable[str]:
    """Return the names of all metrics."""
    yield from (metric.name for metric in METRICS)
    yield from (name for name, _ in WORKER_METRICS)
