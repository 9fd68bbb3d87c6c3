"""Reader: follows one room from its first message on, keeps account of it, and resumes by cursor."""

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
    """What a reader tells beside."""

    def caught_up(self) -> None:
        """Hear, once, that a reader has its room's last message."""


class LogRestarted(ChatkitError):
    """A room's log began anew while it was measured: what had been acknowledged is gone."""

    def __init__(self, room: str) -> None:
        super().__init__(f"the log of {room} began anew: the server has lost its store")


class LoadReader(LoadConnection):
    """Reads `room` until it has message `goal`. The latencies of every message are noted where it `samples`."""

    def __init__(
        self,
        name: str,
        owner: ReaderOwner,
        *,
        room: str,
        goal: int,
        cutter: FrameParser,
        latencies: Latencies,
        samples: bool,
    ) -> None:
        super().__init__(name, owner, cutter.cut)
        self.account = ReaderChecker()
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
        return {"history": 0} if self._epoch is None else {"after": str(Cursor(self._epoch, self.account.last))}

    def _take(self, cut: ParsedChunk) -> None:
        account = self.account
        for item in cut.items:
            if isinstance(item, range):
                account.take(item)
            else:
                self._control(item)
        if cut.stamps:
            now_ns = time.monotonic_ns()
            self._latencies.note_longest(now_ns - cut.oldest)
            if self._samples:
                self._latencies.add(now_ns, cut.stamps)
        self._look_up()

    def _event(self, event: AnyEvent) -> None:
        match event:
            case JoinedEvent():
                self._joined(Cursor.parse(event.cursor).epoch)
            case GapEvent():
                self.account.gap(event.after, event.before)
            case _:
                pass  # who came and went is no concern of a bench; an error that ends the connection says so again

    def _joined(self, epoch: str) -> None:
        if self._epoch is not None and epoch != self._epoch:
            raise LogRestarted(self.room)
        self._epoch = epoch
        self._begin_work()

    def _look_up(self) -> None:
        if self.account.last >= self.goal and not self.is_caught_up:
            self.is_caught_up = True
            self._listener.caught_up()
