"""Posters: clients that post to one room, each after the answer to its previous post, until they are stopped."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import msgspec

from chatkit.backoff import Backoff
from chatkit.bench.campfire.audit import Acknowledgement
from chatkit.bench.campfire.post_connection import PostConnection
from chatkit.bench.load.client_pool import StallDetector
from chatkit.bench.load.latency import Latencies
from chatkit.bench.load.websocket_client import ServerAddress
from chatkit.client.endpoint import room_path
from chatkit.errors import BadRequest, ChatkitError, RateLimited, Unavailable

PAUSE_S = 0.05  # between two posts of a patient client: the restart is measured, not the load
FIRST_WAIT_S, MAX_WAIT_S = 0.05, 0.4  # before a post is repeated
CHECK_EVERY_S = 0.05  # a measurement is up to this much longer than planned


class PostAnswer(msgspec.Struct, frozen=True):
    """The part of a stored message that is audited."""

    seq: int
    body: str


class Posters:
    """`number` clients, which post bodies of `size` bytes to `room` until `stop`.

    If they are patient, they pause between two posts, and repeat them with their keys while the server is unavailable.
    Otherwise, they post without a pause, and an unavailable server is an error.
    """

    def __init__(self, number: int, room: str, address: ServerAddress, *, size: int, is_patient: bool = False) -> None:
        self.acknowledged: list[Acknowledgement] = []
        self.latencies = Latencies()  # from a post to its answer
        self._number = number
        self._room = room
        self._address = address
        self._size = size
        self._filler = "x" * size
        self._is_patient = is_patient
        self._is_stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        return self._number

    @property
    def last(self) -> int:
        """The highest number of a message that was acknowledged."""
        return max((each.seq for each in self.acknowledged), default=0)

    @asynccontextmanager
    async def posting(self) -> AsyncIterator[None]:
        """Let all clients post during the block."""
        self._tasks = [asyncio.create_task(self._post_each(index)) for index in range(self._number)]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait(self, is_over: Callable[[], bool]) -> None:
        """Wait while the clients post. Raise the error with which one of them failed, or if no post is answered."""
        stall = StallDetector()
        while not is_over():
            working = [task for task in self._tasks if not task.done()]
            if working:
                await asyncio.wait(working, timeout=CHECK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
            if stall.is_stalled(len(self.acknowledged)):
                raise Unavailable("the server stopped acknowledging")

    async def stop(self) -> None:
        """Wait for the answers to the posts in progress."""
        self._is_stopped = True
        await self.wait(lambda: all(task.done() for task in self._tasks))

    async def _post_each(self, index: int) -> None:
        """Post as client `index`."""
        connection = PostConnection(self._address, f"{room_path(self._room)}/messages", name=f"bench-poster-{index}")
        try:
            for number in count():
                await self._post(connection, f"{index}-{number}")
                if self._is_stopped:
                    return
                if self._is_patient:
                    await asyncio.sleep(PAUSE_S)
        finally:
            connection.close()

    async def _post(self, connection: PostConnection, name: str) -> None:
        sent_ns = time.monotonic_ns()
        sent = f"@@{sent_ns:019d} {name} {self._filler}"[: self._size]
        key = b',"key":"%b"' % name.encode() if self._is_patient else b""
        answer = _read(await self._answer(connection, b'{"body":"%b"%b}' % (sent.encode(), key)))
        now_ns = time.monotonic_ns()
        self.latencies.add(now_ns, (sent_ns,))
        self.latencies.note_longest(now_ns - sent_ns)
        self.acknowledged.append(Acknowledgement(answer.seq, answer.body, sent))

    async def _answer(self, connection: PostConnection, body: bytes) -> bytes:
        backoff = Backoff(FIRST_WAIT_S, MAX_WAIT_S)
        while True:
            try:
                return await connection.post(body)
            except Unavailable:
                if not self._is_patient:
                    raise
            except RateLimited as error:
                raise BadRequest(
                    "the server limits the rate of messages, which would be measured: start it with --rate-limit 0"
                ) from error
            await asyncio.sleep(backoff.next_s())


def _read(answer: bytes) -> PostAnswer:
    try:
        return msgspec.json.decode(answer, type=PostAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ChatkitError(f"the server does not answer a post with the message: {error}") from error
