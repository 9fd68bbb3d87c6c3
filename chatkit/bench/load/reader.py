"""LoadReader: reads one room from its first message on, checks what it receives, and resumes by cursor."""

import time
from typing import Protocol

from chatkit.bench.load.checker import ReaderChecker
from chatkit.bench.load.connection import ConnectionOwner, LoadConnection
from chatkit.bench.load.frame_parser import FrameParser, ParsedChunk
from chatkit.bench.load.latency import Latencies
from chatkit.core.model import Cursor
from chatkit.errors import ChatkitError
from chatkit.wire.protocol import AnyEvent, GapEvent, JoinedEvent


class ReaderOwner(ConnectionOwner, Protocol):
    """Receives a reader's notifications."""

    def caught_up(self) -> None:
        """Handle, once, that a reader has its room's last message."""


class LogRestarted(ChatkitError):
    """A room's log was recreated during the load: acknowledged messages are lost."""

    def __init__(self, room: str) -> None:
        super().__init__(f"the log of {room} was recreated: the server has lost its store")


class LoadReader(LoadConnection):
    """Reads `room` until it has message `goal`. With `samples`, every message's latency is recorded."""

    def __init__(
        self,
        name: str,
        owner: ReaderOwner,
        *,
        room: str,
        goal: int,
        parser: FrameParser,
        latencies: Latencies,
        samples: bool,
    ) -> None:
        super().__init__(name, owner, parser.parse)
        self.checker = ReaderChecker()
        self.room = room
        self.is_caught_up = False
        self.goal = goal
        self._listener = owner
        self._latencies = latencies
        self._samples = samples
        self._epoch: str | None = None

    def _path(self) -> str:
        return f"/ws/{self.room}"

    def _query(self) -> dict[str, str | int]:
        return {"history": 0} if self._epoch is None else {"after": str(Cursor(self._epoch, self.checker.last))}

    def _on_chunk(self, chunk: ParsedChunk) -> None:
        checker = self.checker
        for item in chunk.items:
            if isinstance(item, range):
                checker.add(item)
            else:
                self._on_control_frame(item)
        if chunk.stamps:
            now_ns = time.monotonic_ns()
            self._latencies.note_longest(now_ns - chunk.oldest)
            if self._samples:
                self._latencies.add(now_ns, chunk.stamps)
        self._check_goal()

    def _on_event(self, event: AnyEvent) -> None:
        match event:
            case JoinedEvent():
                self._on_joined(Cursor.parse(event.cursor).epoch)
            case GapEvent():
                self.checker.gap(event.after, event.before)
            case _:
                pass  # presence is not measured; an error that ends the connection comes again with the close

    def _on_joined(self, epoch: str) -> None:
        if self._epoch is not None and epoch != self._epoch:
            raise LogRestarted(self.room)
        self._epoch = epoch
        self._mark_ready()

    def _check_goal(self) -> None:
        if self.checker.last >= self.goal and not self.is_caught_up:
            self.is_caught_up = True
            self._listener.caught_up()
