"""ShortPath: answers plain requests for a room's messages without the routes, which cost several times as much.

These are the calls that programs make all the time: to publish a message, and to read the newest page. The checks are
those of the routes, in the same order, and the same functions make them. Everything that is not plain (see
`plain_request`) goes to the routes.
"""

import re
from typing import Final, TypeAlias

from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types.asgi_types import ASGIApp, Receive, Scope, Send

from chatkit.errors import ChatkitError
from chatkit.server.admission import Admission
from chatkit.server.disconnect import while_connected
from chatkit.server.message_routes import readable_room
from chatkit.server.middleware import HEADERS
from chatkit.server.newest_pages import NewestPages
from chatkit.server.plain_request import PATH, PlainRequest
from chatkit.server.problems import headers_of, http_problem, problem_of, unexpected
from chatkit.server.publishing import publish_as, read_publish
from chatkit.server.routes import PAGE_MESSAGES, check_limit
from chatkit.wire.costs import PAGE_COST
from chatkit.wire.http import PROBLEM_MEDIA_TYPE, Problem
from chatkit.wire.page import encode_page, page_json
from chatkit.wire.protocol import encode, message_json

_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", PROBLEM_MEDIA_TYPE.encode())

_Answer: TypeAlias = tuple[int, bytes]
"""A status and a body of JSON."""


class ShortPath:
    """An ASGI application in front of `routes`. `max_bytes` is the longest body that they read."""

    def __init__(self, routes: ASGIApp, admission: Admission, prefix: str, max_bytes: int) -> None:
        self.routes = routes
        self._admission = admission
        self._path = re.compile(f"(?:{re.escape(prefix)})?{PATH}")  # a proxy may have removed the prefix
        self._max_bytes = max_bytes
        self._pages = NewestPages(admission.hub)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it to the routes."""
        request = PlainRequest.match(scope, receive, self._path) if scope["type"] == ScopeType.HTTP else None
        if request is None:
            await self.routes(scope, receive, send)
            return
        try:
            answer = await self._answer(request)
        except ChatkitError as error:
            problem = problem_of(error)
            await self._refuse(send, problem, headers_of(problem))
        except HTTPException as error:
            await self._refuse(send, http_problem(error), dict(error.headers or {}))
        except Exception as error:  # noqa: BLE001 - as for the routes; it is logged
            await self._refuse(send, unexpected(error), {})
        else:
            if answer is None:
                await self.routes(scope, receive, send)
            else:
                await self._send(send, answer[0], answer[1], [_JSON])

    async def _answer(self, request: PlainRequest) -> _Answer | None:
        """Answer the request. Return None if the routes have to: then nothing that they do has been done."""
        method = request.scope["method"]
        if method == "POST" and request.is_publishing(self._max_bytes):
            self._identify(request)
            return await self._publish(request)
        if method == "GET" and (limit := request.page_limit(PAGE_MESSAGES)) is not None:
            self._identify(request)
            return 200, await self._read_newest(request, limit)
        return None

    def _identify(self, request: PlainRequest) -> None:
        """Do what the guard `check_request` does. A plain request has no `Origin`."""
        authenticator = self._admission.authenticator
        request.auth = authenticator.read(request.scope)
        self._admission.policy.check_host(request.host)
        request.user = authenticator.identify(request.auth)

    async def _publish(self, request: PlainRequest) -> _Answer | None:
        body = await request.read_body()
        if body is None:
            return None
        published = read_publish(body, request.idempotency_key, is_json=request.is_json)
        receipt = await publish_as(self._admission, request, request.room, published, len(body))
        return 200 if receipt.repeat else 201, message_json(receipt.message)

    async def _read_newest(self, request: PlainRequest, limit: int) -> bytes:
        admission, context = self._admission, self._admission.context
        check_limit(limit, context.limits)
        await admission.charge(request, PAGE_COST)
        room = readable_room(admission, request, request.room)
        mark = self._pages.check()
        if (known := self._pages.find(room, limit, mark)) is not None:
            return known
        reading = context.history_queue.read(
            admission.client(request), context.hub, room, after=None, before=None, limit=limit, where=None, folded=True
        )
        history = await while_connected(request, reading)
        readable_room(admission, request, room)  # again: the store may have taken long
        page = page_json(history, await encode_page(history, is_forward=False))
        self._pages.keep(room, limit, page, mark)
        return page

    async def _refuse(self, send: Send, problem: Problem, headers: dict[str, str]) -> None:
        self._admission.context.refusals.errors[problem.code] += 1
        given = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send(send, problem.status, encode(problem), [*given, _PROBLEM])

    async def _send(self, send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self._admission.responses[status] += 1
        headers = [*headers, (b"content-length", b"%d" % len(body)), *HEADERS]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
