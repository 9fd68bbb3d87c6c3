"""`GET /health`: whether the server works, and counts for those who operate it."""

import os

from litestar import Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from chatkit.errors import ChatkitError
from chatkit.server.admission import Admission
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.operator import check_operator
from chatkit.wire.http import Health, HealthStatus


@get("/health")
async def health(request: HttpRequest, admission: NamedDependency[Admission], state: State) -> Response[Health]:
    """Answer 200, or 503 if the store does not work. Only operators see the counts and the reason."""
    fault = admission.context.hub.fault
    status: HealthStatus = "unavailable" if fault else "ok"
    has_details = _may_see_details(request, admission)
    report = _report(admission, status, state.n_workers) if has_details else Health(status)
    return Response(report, status_code=503 if fault else 200)


def _report(admission: Admission, status: HealthStatus, n_workers: int) -> Health:
    hub = admission.context.hub
    counts = hub.counts
    return Health(
        status,
        admission.context.server.partition("/")[2],
        admission.n_connections,
        counts["rooms"],
        counts["subscriptions"],
        hub.fault,
        n_workers,
        os.getpid() if n_workers > 1 else None,
        tuple(hub.webhooks.table.parked),
    )


def _may_see_details(request: HttpRequest, admission: Admission) -> bool:
    try:
        check_operator(request, admission)
    except ChatkitError:
        return False
    return True
