"""The receivers of webhooks, as one process of the benchmark: `python -m chatkit.bench.chaos.receiver`, job on stdin.

They accept most requests with 204. Now and then, one answers with 500, closes the connection, or does not answer until
the server gives up. They do not fail twice in a row: the server would wait half a minute then.
"""

import asyncio
import os
import random
import socket
import sys
import time
from contextlib import suppress
from itertools import cycle
from math import inf
from typing import Any, Final

import msgspec
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from chatkit.bench.chaos.digest import digest_of
from chatkit.bench.chaos.receiver_event import ReceiverEvent, ReceiverEventKind, ReceiverJob
from chatkit.wire.messages import WireMessage

FIRST_REFUSAL_S: Final = (1.0, 20.0)  # after the start
REFUSAL_EVERY_S: Final = (20.0, 40.0)  # the server waits for five seconds after each
POLL_S: Final = 0.5  # between two looks at the parent process
ACCEPTED: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
FORGED: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
BROKEN: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
ANSWERS: Final = ("error", "drop", "hang")


class WebhookReceiver:
    """One receiver: it reports each request, and answers it."""

    def __init__(self, index: int, job: ReceiverJob) -> None:
        self._index = index
        self._job = job
        self._verifier = Verifier(job.secrets[index])
        self._refusals = cycle(ANSWERS[index % 3 :] + ANSWERS[: index % 3])
        self._refuse_at = time.monotonic() + _uniform(FIRST_REFUSAL_S)

    async def answer(self, headers: dict[str, str], body: bytes, connection: "ReceiverConnection") -> None:
        """Answer a request."""
        try:
            event = self._verifier.verify(body, headers)
        except WebhookVerificationError:
            self._report(ReceiverEventKind.FORGED)
            await connection.send(FORGED)
            return
        is_gap = event["type"] == "gap"
        seq, last = self._report_gap(event["data"]) if is_gap else self._report_message(event["data"])
        now = time.monotonic()
        if now >= self._refuse_at:
            self._report(ReceiverEventKind.REFUSED, seq)
            await self._refuse(connection)
            return
        if self._refuse_at == inf:
            self._refuse_at = now + _uniform(REFUSAL_EVERY_S)
        self._report(ReceiverEventKind.GAP_ACCEPTED if is_gap else ReceiverEventKind.ACCEPTED, seq, last)
        await connection.send(ACCEPTED)

    def _report_message(self, data: Any) -> tuple[int, int]:
        message = msgspec.convert(data, WireMessage).to_message(self._job.epoch)
        self._report(ReceiverEventKind.ARRIVED, message.seq, digest=digest_of(message))
        return message.seq, message.seq

    def _report_gap(self, data: Any) -> tuple[int, int]:
        seq, last = data["after"] + 1, data["before"] - 1
        self._report(ReceiverEventKind.GAP_ARRIVED, seq, last)
        return seq, last

    async def _refuse(self, connection: "ReceiverConnection") -> None:
        self._refuse_at = inf  # until it has accepted one
        match next(self._refusals):
            case "error":
                await connection.send(BROKEN)
            case "drop":
                connection.drop()
            case _:
                await connection.wait_closed()

    def _report(self, kind: ReceiverEventKind, seq: int = 0, last: int = 0, *, digest: int = 0) -> None:
        os.write(self._job.events, msgspec.json.encode(ReceiverEvent(kind, self._index, seq, last, digest)) + b"\n")


class ReceiverConnection:
    """A connection of a server, which sends one request after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> tuple[int, dict[str, str], bytes]:
        """Return the index in the path, the headers and the body of the next request. Raise `EOFError` at the end."""
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1].strip("/")), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def send(self, answer: bytes) -> None:
        """Send an answer."""
        self._writer.write(answer)
        await self._writer.drain()

    def drop(self) -> None:
        """Close the connection at once, without an answer."""
        self._writer.transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the server closes the connection."""
        await self._reader.read()


class Receivers:
    """All receivers of a job. They run until the parent process has ended."""

    def __init__(self, job: ReceiverJob) -> None:
        self._job = job
        self._receivers = [WebhookReceiver(index, job) for index in range(len(job.secrets))]

    async def run(self) -> None:
        """Accept connections."""
        async with await asyncio.start_server(self._serve, sock=socket.socket(fileno=self._job.socket)):
            await asyncio.to_thread(_wait_for_end_of, os.getppid())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ReceiverConnection(reader, writer)
        with suppress(EOFError, ConnectionError):  # a killed server
            while True:
                index, headers, body = await connection.read()
                await self._receivers[index].answer(headers, body, connection)
        writer.close()


def _wait_for_end_of(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)


def _uniform(bounds: tuple[float, float]) -> float:
    return random.uniform(*bounds)  # noqa: S311 - varies the run


if __name__ == "__main__":
    asyncio.run(Receivers(msgspec.json.decode(sys.stdin.buffer.read(), type=ReceiverJob)).run())
