"""Snapshot: everything that one server process counts, at one time. Workers send it to each other as JSON."""

import asyncio
import platform

import msgspec

from chatkit import __version__
from chatkit.core.measures import HubMeasures
from chatkit.server.admission import Admission
from chatkit.server.process_measures import ProcessMeasures, measure_process


class Snapshot(msgspec.Struct, frozen=True):
    """The counts of one process. Values by kind of connection or by error code are dictionaries."""

    version: str
    python: str
    process: ProcessMeasures
    hub: HubMeasures
    connections: dict[str, int]
    connections_opened: dict[str, int]
    max_connections: int
    refusals: dict[str, int]
    n_pauses: int
    responses: dict[int, int]  # HTTP responses by status


async def take_snapshot(admission: Admission) -> Snapshot:
    """Return what this process has counted until now."""
    process = await asyncio.to_thread(measure_process)
    hub = await admission.context.hub.measure()
    refusals = admission.context.refusals
    return Snapshot(
        version=__version__,
        python=platform.python_version(),
        process=process,
        hub=hub,
        connections={kind: counter.n_open for kind, counter in admission.connections.items()},
        connections_opened={kind: counter.n_opened for kind, counter in admission.connections.items()},
        max_connections=admission.max_connections,
        refusals=dict(refusals.errors),
        n_pauses=refusals.n_pauses,
        responses=dict(admission.responses),
    )
