"""Servers on one store in the test's own event loop, for tests of access: with calls by HTTP, and tokens for them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from litestar import Litestar

from chatkit.core.access import EVERYTHING, Credential, Grant, Identity, Right
from chatkit.core.administration import NewToken
from chatkit.core.hub import Hub
from chatkit.core.token import TokenKind
from chatkit.server.app import open_app
from chatkit.server.settings import Settings

ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
HOST = "http://127.0.0.1:8000"


class Site:
    """One server, and a token for each right; `calls` makes its HTTP calls."""

    def __init__(self, app: Litestar, calls: httpx.AsyncClient) -> None:
        self.app = app
        self.calls = calls
        self.hub: Hub = app.state.admission.hub

    async def token(self, name: str, rooms: str = "*", *rights: str, kind: TokenKind = TokenKind.PERSON) -> NewToken:
        """Make a token with rights on the rooms of a pattern; without rights, it may do nothing."""
        grants = [Grant(rooms, tuple(map(Right, rights)))] if rights else []
        return await self.hub.administration.add_token(ROOT, name, grants, kind=kind)

    async def call(
        self, method: str, path: str, by: NewToken | str | None = None, body: Any = None, **headers: str
    ) -> httpx.Response:
        """Make a call with a token, and with a body as JSON."""
        secret = by.secret if isinstance(by, NewToken) else by
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret is not None:
            named["Authorization"] = f"Bearer {secret}"
        return await self.calls.request(method, path, headers=named, json=body)

    async def entries(self, by: NewToken) -> list[dict[str, Any]]:
        """Return the entries of the audit, as an administrator reads them."""
        page = await self.call("GET", "/rooms/.audit/messages?limit=1000", by)
        assert page.status_code == 200, page.text
        return list(page.json()["messages"])


@asynccontextmanager
async def open_site(**settings: Any) -> AsyncIterator[Site]:
    """Open a server. Its calls come from 127.0.0.1, and keep cookies."""
    async with AsyncExitStack() as opened:
        app = await opened.enter_async_context(
            open_app(Settings(**{"backend": "memory://", "rate_limit": 0.0, **settings}))
        )
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
        calls = await opened.enter_async_context(httpx.AsyncClient(transport=transport, base_url=HOST))
        yield Site(app, calls)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of an error, which has the form of all errors."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["code"]
