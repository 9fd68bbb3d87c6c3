"""Both protocols, each also combined with uvicorn's own: applications see no difference."""

from typing import Any

import pytest
from protocol_app import HEAD, Client, Receive, Send, frame, run, serving

from chatkit.protocols.websocket import HttpProtocol, WebSocketProtocol

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # uvicorn uses the older half of websockets
    pytest.mark.filterwarnings("ignore:.*websockets"),
]

HTTP: dict[str, Any] = {"own": HttpProtocol, "h11": "h11", "httptools": "httptools"}
WEBSOCKET: dict[str, Any] = {
    "own": WebSocketProtocol,
    "websockets": "websockets",
    "websockets-sansio": "websockets-sansio",
    "wsproto": "wsproto",
}
PAIRS = [(http, websocket) for http in HTTP for websocket in WEBSOCKET if "own" in (http, websocket)]
FIELDS = b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nCookie: a=b\r\nAuthorization: Bearer t\r\n"


class Scopes:
    """An application that keeps its scopes, answers requests, and sends back one text."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await receive()
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        await receive()


@pytest.mark.parametrize("is_split", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize(("http", "websocket"), PAIRS, ids=["+".join(pair) for pair in PAIRS])
def test_a_scope_is_the_same_with_either_protocol_stock(http: str, websocket: str, is_split: bool) -> None:
    async def test() -> None:
        app = Scopes()
        pair = {"http": HTTP[http], "ws": WEBSOCKET[websocket]}
        async with serving(app, forwarded_allow_ips="*", **pair) as served:
            client = await Client.connect(served.port, None)
            if is_split:  # behind a request, so that an HTTP parser reads it whatever it looks like
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\n" + FIELDS + b"\r\n")
                assert b" 200 " in await client.head()
                assert await client.reader.readexactly(2) == b"ok"
            client.send(HEAD + FIELDS + b"\r\n")
            assert b" 101 " in await client.head()
            client.send(frame(0x81, b"hi"))
            assert await client.frame() == (0x81, b"hi")
            client.cut()
            await served.empty()
        for scope in app.scopes:
            names = [name for name, _ in scope["headers"]]
            assert names == [name.lower() for name in names]
            assert {b"host", b"cookie", b"authorization", b"x-forwarded-for"} <= set(names)
            assert scope["client"][0] == "1.2.3.4"
            assert scope["scheme"] == ("wss" if scope["type"] == "websocket" else "https")

    run(test)


@pytest.mark.parametrize("websocket", WEBSOCKET)
def test_a_connection_counts_whichever_class_serves_it(websocket: str) -> None:
    async def test() -> None:
        async with serving(Scopes(), ws=WEBSOCKET[websocket], limit_concurrency=3) as served:
            opened = [await Client.connect(served.port) for _ in range(2)]
            refused = await Client.connect(served.port, None)
            refused.send(HEAD + b"\r\n")
            assert b" 503 " in await refused.head()
            for client in [*opened, refused]:
                client.cut()

    run(test)
