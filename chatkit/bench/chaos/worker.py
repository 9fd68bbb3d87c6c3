"""A worker of a consumer, as a process that the benchmark kills and pauses: `python -m chatkit.bench.chaos.worker JOB`.

It receives messages through any running server, and settles them in every way that there is.
"""

import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

import msgspec

from chatkit.bench.chaos.digest import digest_of
from chatkit.bench.chaos.work_event import WorkEvent, WorkEventKind
from chatkit.bench.chaos.worker_process import Job
from chatkit.client.consumers import ConsumerClient
from chatkit.client.endpoint import Endpoint
from chatkit.core.consumer import Taken
from chatkit.core.model import Message
from chatkit.errors import LeaseExpired, RateLimited, Unavailable, VersionConflict

LIMIT: Final = 20  # messages of a lease
LEASE_S: Final = (2.0, 5.0)
WAIT_S: Final = 1.0  # for messages, in one call
CALL_WITHIN_S: Final = 2.0  # a paused server does not answer: then try the next one
PAUSE_S: Final = (0.05, 0.15)  # before the next attempt
STAY_S: Final = (2.0, 8.0)  # at one server
HANDLE_S: Final = (0.0, 0.004)  # the work on one message
FAILS_EVERY: Final = 60  # one message in so many fails each time, until it is given up
FAILS_AT: Final = 7
DELAY_S: Final = (0.0, 0.3)  # before a message that failed comes again
P_FAIL, P_STOP, P_PART, P_EXTEND = 0.01, 0.01, 0.05, 0.05  # probabilities, for each message


class Settlement(Enum):
    """What becomes of messages of a lease."""

    ACK = auto()
    RETRY = auto()
    RELEASE = auto()


class ConsumerWorker:
    """One worker. It runs until it is killed, or until its parent process has ended."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._parent = os.getppid()
        self._unanswered: tuple[Settlement, str, Sequence[int]] | None = None  # with its lease and messages

    def run(self) -> None:
        """Work at one server after the other."""
        while os.getppid() == self._parent:
            urls = Path(self._job.addresses).read_text().split()
            if urls:
                endpoint = Endpoint.parse(random.choice(urls), "worker")  # noqa: S311 - spreads load
                # Its leases run out, or are settled through the next server.
                with (
                    suppress(Unavailable, RateLimited, VersionConflict),
                    ConsumerClient(endpoint, CALL_WITHIN_S) as calls,
                ):
                    self._work(calls)
            time.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - spreads load

    def _work(self, calls: ConsumerClient) -> None:
        until = time.monotonic() + random.uniform(*STAY_S)  # noqa: S311 - spreads load
        job = self._job
        while time.monotonic() < until and os.getppid() == self._parent:
            with suppress(LeaseExpired):
                self._repeat_settlement(calls)
                lease_s = random.uniform(*LEASE_S)  # noqa: S311 - varies the run
                taken = calls.receive(job.room, job.consumer, limit=LIMIT, lease_s=lease_s, wait_s=WAIT_S)
                if taken.lease is not None:
                    self._report_taken(taken.lease, taken)
                    self._handle(calls, taken.lease, taken.messages)

    def _report_taken(self, lease: str, taken: Taken) -> None:
        if taken.gap is not None:
            self._report(WorkEventKind.GAP, lease, [taken.gap.after, taken.gap.before])
        messages = taken.messages
        self._report(
            WorkEventKind.RECEIVED, lease, [each.seq for each in messages], [digest_of(each) for each in messages]
        )

    def _handle(self, calls: ConsumerClient, lease: str, messages: Sequence[Message]) -> None:
        """Handle the messages of a lease in their order, and settle each. Raise `LeaseExpired`."""
        done: list[int] = []  # and not acknowledged
        for index, message in enumerate(messages):
            time.sleep(random.uniform(*HANDLE_S))  # noqa: S311 - varies the run
            self._report(WorkEventKind.HANDLED, lease, [message.seq])
            fails = message.seq % FAILS_EVERY == FAILS_AT or _happens(P_FAIL)
            if not fails:
                done.append(message.seq)
            if fails or _happens(P_PART):
                self._acknowledge(calls, lease, done)
                done = []
            if fails:
                self._settle(calls, Settlement.RETRY, lease, [message.seq])
            if (fails and self._job.ordered) or _happens(P_STOP):
                self._acknowledge(calls, lease, done)
                if rest := [each.seq for each in messages[index + 1 :]]:
                    self._settle(calls, Settlement.RELEASE, lease, rest)
                return
            if _happens(P_EXTEND) and message is not messages[-1]:
                self._extend(calls, lease)
        self._acknowledge(calls, lease, done, has_only_gap=not messages)

    def _acknowledge(
        self, calls: ConsumerClient, lease: str, seqs: Sequence[int], *, has_only_gap: bool = False
    ) -> None:
        if seqs or has_only_gap:
            self._report(WorkEventKind.ACKNOWLEDGING, lease, seqs)
            try:
                self._settle(calls, Settlement.ACK, lease, seqs)
            except LeaseExpired:
                self._report(WorkEventKind.REFUSED, lease, seqs)
                raise

    def _settle(self, calls: ConsumerClient, how: Settlement, lease: str, seqs: Sequence[int]) -> None:
        self._unanswered = (how, lease, seqs)
        self._repeat_settlement(calls)

    def _repeat_settlement(self, calls: ConsumerClient) -> None:
        """Make the call that is not answered. If it is refused, an earlier attempt may have had success."""
        if self._unanswered is None:
            return
        how, lease, seqs = self._unanswered
        try:
            self._call(calls, how, lease, seqs or None)
        except LeaseExpired:
            self._unanswered = None
            raise
        self._unanswered = None
        if how is Settlement.ACK:
            self._report(WorkEventKind.ACKNOWLEDGED, lease, seqs)

    def _call(self, calls: ConsumerClient, how: Settlement, lease: str, seqs: Sequence[int] | None) -> None:
        room, consumer = self._job.room, self._job.consumer
        match how:
            case Settlement.ACK:
                calls.ack(room, consumer, lease, seqs)
            case Settlement.RETRY:
                delay_s = random.uniform(*DELAY_S)  # noqa: S311 - varies the run
                calls.retry(room, consumer, lease, seqs, delay_s=delay_s, reason="it fails")
            case Settlement.RELEASE:
                calls.release(room, consumer, lease, seqs)

    def _extend(self, calls: ConsumerClient, lease: str) -> None:
        lease_s = random.uniform(*LEASE_S)  # noqa: S311 - varies the run
        calls.extend(self._job.room, self._job.consumer, lease, lease_s)

    def _report(self, kind: WorkEventKind, lease: str, seqs: Sequence[int], digests: Sequence[int] = ()) -> None:
        line = msgspec.json.encode(WorkEvent(kind, self._job.consumer, lease, seqs, digests)) + b"\n"
        os.write(self._job.events, line)


def _happens(probability: float) -> bool:
    return random.random() < probability  # noqa: S311 - varies the run


if __name__ == "__main__":
    ConsumerWorker(msgspec.json.decode(sys.argv[1], type=Job)).run()
