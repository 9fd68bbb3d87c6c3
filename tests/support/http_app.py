"""Shared by the tests of HTTP: an application that answers with the body of a request, and reading its answers."""

import asyncio
import json
from typing import Any

from protocol_app import Client, Echo, Receive, Send, Serving

from chatkit.protocols.http import HttpConnection

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"


class Page:
    """Reads the body and answers with it; `may_answer` delays the answer, and without `reads` it reads nothing."""

    def __init__(self, *, answer: bytes | None = None, reads: bool = True, status: int = 200) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer = answer
        self.reads = reads
        self.status = status
        self.scopes: list[Any] = []
        self.n_answers = 0
        self.is_left = False

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await Echo()(scope, receive, send)
            return
        self.scopes.append(scope)
        body, more = b"", self.reads
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.is_left = True
                return
            body += event["body"]
            more = event["more_body"]
        await self.may_answer.wait()
        answer = body if self.answer is None else self.answer
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        self.n_answers += 1


def conversation(served: Serving) -> HttpConnection:
    (found,) = served.connections
    assert isinstance(found, HttpConnection)
    return found


async def answer(client: Client) -> tuple[int, bytes]:
    head = (await client.head()).decode().lower()
    length = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("content-length"))
    return int(head[9:12]), await client.reader.readexactly(int(length))


async def problem(client: Client) -> tuple[int, str]:
    """Return the status and the code of a refusal, which has a sentence and ends the connection."""
    status, body = await answer(client)
    found = json.loads(body)
    assert found["status"] == status
    assert found["detail"]
    assert found["title"]
    assert await client.rest() == b""
    return status, found["code"]
