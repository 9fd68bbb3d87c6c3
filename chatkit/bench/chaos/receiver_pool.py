"""ReceiverPool: the receivers of the webhooks of one room, in a process, and what they report."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from chatkit.bench.chaos.checker import RoomChecker
from chatkit.bench.chaos.event_pipe import EventPipe
from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.plan import ChaosPlan
from chatkit.bench.chaos.receiver_checker import ReceiverChecker, ReceiverFindings
from chatkit.bench.chaos.receiver_event import ReceiverEvent, ReceiverEventKind, ReceiverJob
from chatkit.bench.load.client_pool import StallDetector
from chatkit.client.endpoint import Endpoint
from chatkit.client.webhooks import WebhookClient

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = 2  # the webhooks are made after the first message
STALL_S = 60.0  # longer than the second delay after a failure
TICK_S = 0.2


class ReceiverPool:
    """The receivers, each with a webhook; nothing if the plan has none."""

    def __init__(self, plan: ChaosPlan, fleet: Fleet, room: str, checker: RoomChecker, folder: Path) -> None:
        self.receivers = [ReceiverChecker(f"receiver-{index}", FIRST) for index in range(plan.receivers)]
        self._fleet = fleet
        self._room = room
        self._room_checker = checker
        self._log = folder / "log"
        self._events = EventPipe(ReceiverEvent, self._on_event)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def open(cls, plan: ChaosPlan, fleet: Fleet, room: str, checker: RoomChecker) -> "Iterator[ReceiverPool]":
        """Make a pool for the block. At its end, the process is killed."""
        with TemporaryDirectory(prefix="chatkit-bench-") as name:
            pool = cls(plan, fleet, room, checker, Path(name))
            try:
                yield pool
            finally:
                pool._close()

    async def start(self, epoch: str) -> None:
        """Make the webhooks, after message 1 of the room and before the next, and start their receivers."""
        if not self.receivers:
            return
        self._events.listen()
        with socket.create_server(("127.0.0.1", 0)) as listener:  # it is open before the first request
            secrets = await asyncio.to_thread(self._add_webhooks, listener.getsockname()[1])
            job = ReceiverJob(listener.fileno(), self._events.write_end, secrets, epoch)
            self._process = await asyncio.to_thread(self._spawn, job)

    async def drain(self) -> None:
        """Wait until all messages of the log, which was read, are accepted, or until there is no progress."""
        stall = StallDetector(STALL_S)
        while (frontiers := [each.frontier for each in self.receivers]) and min(frontiers) <= self._room_checker.last:
            if stall.is_stalled(frontiers):
                return
            await asyncio.sleep(TICK_S)

    def findings(self) -> list[ReceiverFindings]:
        """Return what became of the messages, after the log was read."""
        return [each.findings(self._room_checker.stored_seqs()) for each in self.receivers]

    @property
    def n_crashes(self) -> int:
        """Whether the process has ended by itself, as a number."""
        return int(self._process is not None and self._process.poll() is not None)

    def errors(self) -> list[str]:
        """Return the last line of what the process has written."""
        return self._log.read_text().splitlines()[-1:] if self._log.exists() else []

    def _add_webhooks(self, port: int) -> list[str]:
        with WebhookClient(Endpoint.parse(self._fleet.servers[0].url, "receiver")) as calls:
            return [
                calls.add_webhook(f"http://127.0.0.1:{port}/{index}", [self._room]).secret
                for index in range(len(self.receivers))
            ]

    def _spawn(self, job: ReceiverJob) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "chatkit.bench.chaos.receiver"],
                stdin=subprocess.PIPE,  # not an argument: the job has secrets
                stdout=log,
                stderr=log,
                pass_fds=[job.socket, job.events],
                cwd=self._log.parent,
                env={name: value for name, value in os.environ.items() if not name.startswith("CHATKIT_")},
                start_new_session=True,  # Ctrl-C must only reach the benchmark
            )
        if process.stdin is not None:
            with process.stdin as words:
                words.write(msgspec.json.encode(job))
        return process

    def _on_event(self, event: ReceiverEvent) -> None:
        self.receivers[event.receiver].record(event)
        if event.kind is ReceiverEventKind.ARRIVED:
            self._room_checker.delivered_digest(event.seq, event.digest)

    def _close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._events.ignore()
        self._events.close()
