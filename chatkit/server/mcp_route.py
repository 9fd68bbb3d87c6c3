"""`POST /mcp`: the Model Context Protocol over HTTP, stateless, with the identity and the rights of each request."""

import asyncio
from importlib import import_module
from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromQuery

from chatkit.errors import NotFound
from chatkit.mcp.installation import MISSING, is_installed
from chatkit.server.admission import Admission, check_request
from chatkit.server.disconnect import while_connected
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.request_access import RequestAccess
from chatkit.wire.costs import refused_cost


@post("/mcp", guards=[check_request], status_code=200)
async def mcp(
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> Response[Any]:
    """Answer one request of an agent. Each tool costs what the same call of the HTTP API costs, and one message more.

    Answer 404 if the MCP SDK is not installed.
    """
    if not is_installed():
        raise NotFound(MISSING)
    body = await request.body()
    await admission.charge(request, refused_cost(len(body)))
    await asyncio.to_thread(import_module, "chatkit.mcp.http_exchange")  # the first time, this takes a second
    from chatkit.mcp.http_exchange import answer  # noqa: PLC0415

    answered = await while_connected(request, answer(RequestAccess(admission, request), request.scope["headers"], body))
    return Response(answered.body, status_code=answered.status, media_type=answered.media_type)
