"""Two servers without sockets, one with the short path of HTTP and one without, that get the same requests."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import pairwise
from typing import Any, Self
from urllib.parse import quote

import msgspec
from access_server import ROOT, grant
from call_count import calls_of

from chatkit.server.app import open_app
from chatkit.server.rate_limit import RateLimits
from chatkit.server.settings import Settings
from chatkit.server.short_path import ShortPath

JSON = ("content-type", "application/json")
VARIABLE = re.compile(rb'"time":"[^"]+"|"cursor":"[^":]+|cursor [^ ]+')
SERVERS: dict[str, dict[str, Any]] = {
    "open": {},
    "guests who read": {"open_grants": (grant("*", "read"),), "host": "0.0.0.0"},
    "secret": {"secret": "open-sesame", "host": "0.0.0.0", "trust_proxies": ("10.0.0.0/8",)},
    "prefix and origin": {"path_prefix": "/chat", "origins": ("https://chat.example",)},
    "proxy that signs in": {"trust_header": "Remote-User", "trust_proxies": ("10.0.0.1",), "host": "0.0.0.0"},
    "low rate": {"rate_limit": 0.001},
}


class Call(msgspec.Struct, frozen=True):
    """A request. `TOKEN` in a header stands for the secret of the server's token."""

    method: str = "POST"
    path: str = "/rooms/ops/messages"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = (("host", "127.0.0.1"),)
    body: bytes = b"hi"
    peer: str | None = "127.0.0.1"
    n_parts: int = 1
    is_cut: bool = False


class Server:
    """A server without a socket, with the short path or without."""

    def __init__(self, app: Any, secret: str) -> None:
        self.app = app
        self.secret = secret
        self.n_routed = 0
        if isinstance(app.asgi_handler, ShortPath):
            self.routes, app.asgi_handler.routes = app.asgi_handler.routes, self

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.n_routed += 1
        await self.routes(scope, receive, send)

    async def answer(self, call: Call) -> list[tuple[Any, ...]]:
        """Return what the server sends: status and headers, and the parts of the body."""
        events = self._events(call)
        sent: list[tuple[Any, ...]] = []

        async def receive() -> dict[str, Any]:
            if not events:
                await asyncio.Event().wait()  # the client stays until it has the answer
            return events.pop(0)

        async def send(event: dict[str, Any]) -> None:
            match event["type"]:
                case "http.response.start":
                    sent.append((event["status"], sorted(event["headers"])))
                case "http.response.body":
                    sent.append((VARIABLE.sub(b"", event["body"]), event.get("more_body", False)))

        await self.app(self._scope(call), receive, send)
        return sent

    def _events(self, call: Call) -> list[dict[str, Any]]:
        size = len(call.body) // call.n_parts
        bounds = [size * n for n in range(call.n_parts)] + [len(call.body)]
        parts = [call.body[start:end] for start, end in pairwise(bounds)]
        events = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        if call.is_cut:
            return [*events, {"type": "http.disconnect"}, {"type": "http.disconnect"}]
        return [*events[:-1], {**events[-1], "more_body": False}]

    def _scope(self, call: Call) -> dict[str, Any]:
        headers = [
            (name.encode(), value.replace("TOKEN", self.secret).encode("latin-1")) for name, value in call.headers
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": call.method,
            "scheme": "http",
            "path": call.path,
            "raw_path": quote(call.path).encode(),
            "root_path": "",
            "query_string": call.query.encode("latin-1"),
            "headers": headers,
            "client": None if call.peer is None else (call.peer, 50_000),
            "server": ("127.0.0.1", 8000),
            "state": {},
        }


class Pair:
    """Two servers with the same settings, of which only the first has the short path."""

    def __init__(self, runner: asyncio.Runner, short: Server, long: Server) -> None:
        self._runner = runner
        self.short = short
        self.long = long

    @classmethod
    @contextmanager
    def open(cls, **given: Any) -> Iterator[Self]:
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            try:
                yield cls(runner, *[runner.run(_open(stack, given, has_short_path=each)) for each in (True, False)])
            finally:
                runner.run(stack.aclose())

    def ask(self, call: Call) -> list[tuple[Any, ...]]:
        """Send the request to both; return the answer, which is the same, as are the counts of both servers."""
        short, long = self._runner.run(self.short.answer(call)), self._runner.run(self.long.answer(call))
        assert short == long
        assert self._counts(self.short) == self._counts(self.long)
        return short

    def n_calls(self, call: Call) -> list[int]:
        """Return how many calls of functions each of the servers makes for 10 requests."""

        async def repeat(server: Server, count: int) -> None:
            for _ in range(count):
                await server.answer(call)

        def count_calls(server: Server, count: int) -> int:
            return calls_of(lambda: self._runner.run(repeat(server, count)))

        return [count_calls(server, 11) - count_calls(server, 1) for server in (self.short, self.long)]

    @staticmethod
    def _counts(server: Server) -> tuple[Any, ...]:
        admission = server.app.state.admission
        return dict(admission.responses), dict(admission.context.refusals.errors), admission.n_connections

    def takes_short_path(self, call: Call) -> bool:
        before = self.short.n_routed
        self.ask(call)
        return self.short.n_routed == before


async def _open(stack: AsyncExitStack, given: dict[str, Any], *, has_short_path: bool) -> Server:
    app = await stack.enter_async_context(open_app(Settings(**{"backend": "memory://", "rate_limit": 0, **given})))
    secret = "ck_none_none"
    if "host" in given:
        rights = (grant("ops", "read", "write"),)
        secret = (await app.state.admission.hub.administration.add_token(ROOT, "ann", rights)).secret
    app.state.admission.rates = RateLimits(given.get("rate_limit", 0), clock=lambda: 0.0)  # the same for both
    short_path = app.asgi_handler
    assert isinstance(short_path, ShortPath)
    if not has_short_path:
        app.asgi_handler = short_path.routes
    return Server(app, secret)
