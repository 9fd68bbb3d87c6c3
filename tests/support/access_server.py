"""A server in the test's own event loop with tokens, and clients that use them through every way into it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
from asgi_servers import under_uvicorn
from raw_client import Talk, open_socket

from chatkit.core.access import EVERYTHING, Credential, Grant, Identity, Right
from chatkit.core.administration import NewToken
from chatkit.core.hub import Hub  # noqa: TC001  # a cheap import is no reason to hide it
from chatkit.core.moderation import Moderation  # noqa: TC001  # a cheap import is no reason to hide it
from chatkit.core.token import TokenKind
from chatkit.protocols.detect import HttpProtocol
from chatkit.protocols.websocket import RoomWebSocketProtocol
from chatkit.server.app import open_app
from chatkit.server.identity import Authenticator  # noqa: TC001  # a cheap import is no reason to hide it
from chatkit.server.settings import Settings

OWN: dict[str, Any] = {"http": HttpProtocol, "ws": RoomWebSocketProtocol}
FOREIGN: dict[str, Any] = {"http": "h11", "ws": "websockets-sansio"}
ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for clients of HTTP: to load certificates takes 30 ms


def grant(rooms: str, *rights: str) -> Grant:
    return Grant(rooms, tuple(Right(right) for right in rights))


class AccessServer:
    """A server, its hub, and what an administrator does to it."""

    def __init__(self, app: Any, port: int) -> None:
        self.app = app
        self.url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}"
        self.hub: Hub = app.state.admission.hub
        self.moderation: Moderation = self.hub.moderation
        self.authenticator: Authenticator = app.state.admission.authenticator
        self.http = httpx.AsyncClient(base_url=self.url, timeout=20, verify=NO_TLS)
        self.answers: list[str] = []  # of calls that were noted, as they came
        self._query = ""

    def ask_for_name(self, name: str) -> None:
        """Ask for a name from now on, in everything that is sent."""
        self._query = f"name={quote(name)}"

    def path(self, path: str) -> str:
        """Return a path with the name that is asked for."""
        return f"{path}{'&' if '?' in path else '?'}{self._query}" if self._query else path

    def note(self, answer: str, code: str) -> str:
        """Note a whole answer, and return its code."""
        self.answers.append(answer)
        return code

    async def token(self, name: str, *grants: Grant, kind: TokenKind = TokenKind.PERSON, **more: Any) -> NewToken:
        return await self.hub.administration.add_token(ROOT, name, grants, kind=kind, **more)

    async def code(self, method: str, path: str, secret: str | None = None, **options: Any) -> str:
        """Return the error code of a call, or "ok"."""
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        headers |= options.pop("headers", {})
        answer = await self.http.request(method, self.path(path), headers=headers, **options)
        return self.note(answer.text, "ok" if answer.is_success else str(answer.json()["code"]))

    async def call(
        self, method: str, path: str, by: NewToken | str | None = None, body: Any = None, **headers: str
    ) -> httpx.Response:
        """Make a call with a token or its secret, and with a body as JSON. Cookies of calls before it are not sent."""
        self.http.cookies.clear()
        secret = by.secret if isinstance(by, NewToken) else by
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {} if secret is None else {"authorization": f"Bearer {secret}"}
        return await self.http.request(method, path, headers=named, json=body)

    @asynccontextmanager
    async def lines(self, path: str, secret: str | None, accept: str) -> AsyncIterator[AsyncIterator[str]]:
        """Open a stream, and yield its lines. Fail if it is refused."""
        headers = {"accept": accept} | ({"authorization": f"Bearer {secret}"} if secret else {})
        async with self.http.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield answer.aiter_lines()

    def talk(self, path: str, secret: str | None) -> Any:
        return Talk.open(
            self, self.path(path), additional_headers={"Authorization": f"Bearer {secret}"} if secret else {}
        )

    def text(self, path: str, secret: str | None) -> Any:
        return open_socket(
            self, self.path(path), additional_headers={"Authorization": f"Bearer {secret}"} if secret else {}
        )


@asynccontextmanager
async def access_server(protocols: dict[str, Any] = OWN, /, **given: Any) -> AsyncIterator[AccessServer]:
    """Serve with chatkit's own protocols, or with others that uvicorn can load."""
    settings = Settings(**{"backend": "memory://", "rate_limit": 0, **given})
    async with (
        open_app(settings) as app,
        under_uvicorn(app, **protocols, proxy_headers=False) as port,
    ):
        server = AccessServer(app, port)
        async with server.http:
            yield server


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of an error, which has the form of all errors."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.json()["status"] == answer.status_code
    assert answer.json()["detail"] not in {"", answer.json()["title"]}
    return answer.status_code, answer.json()["code"]


async def within(seconds: float, job: Any) -> Any:
    async with asyncio.timeout(seconds):
        return await job


def json_of(line: str) -> Any:
    return json.loads(line.removeprefix("data: "))
