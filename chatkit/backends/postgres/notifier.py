"""PostgresNotifier: notifies the other processes on a store of what this process has committed, in the background.

A transaction with NOTIFY holds a lock of the whole database server until its end. Therefore a batch is committed first,
and notified by a statement of its own, which writes nothing and so does not wait for the disk. A NOTIFY also wakes
every process on the store. Therefore this process sends one for all batches that it commits during the previous one
and a rest. If it is killed in between, the others find the batches by their numbers; see batch_numbers.py.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from chatkit.backends.postgres.connection import ConnectionPool
from chatkit.backends.postgres.payload_writer import AppendedBatch, encode_appended
from chatkit.backends.postgres.schema import RESYNC, PostgresSchema
from chatkit.backoff import Backoff
from chatkit.errors import ChatkitError

# Each of n processes wakes all n. With rests of n² times this, that costs all of them together about a third of a core,
# at some 25 µs for each time that a process is woken.
REST_S = 80e-6
MAX_REST_S = 0.02  # the most that a rest delays a message; as long as that of the fan-out
TIMEOUT_S = 5.0
RETRY_MIN_S, RETRY_MAX_S = 0.05, 0.8
MAX_UNSENT = 1_000  # batches, and payloads: without the notification of a batch, others find it by its number
CLOSE_S = 1.0  # for the last notification

_NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"

_logger = logging.getLogger(__name__)


class PostgresNotifier:
    """Sends notifications over a connection of `pool`, in the order in which they are given.

    `count_writers` returns how many other processes append at present. After a failure, the others are asked to compare
    their rooms instead: by a failover, the database may have lost what waited to be sent.
    """

    def __init__(
        self, schema: PostgresSchema, process: str, pool: ConnectionPool, count_writers: Callable[[], int]
    ) -> None:
        self._schema = schema
        self._process = process
        self._pool = pool
        self._count_writers = count_writers
        self._batches: deque[AppendedBatch] = deque(maxlen=MAX_UNSENT)
        self._payloads: list[str] = []
        self._arrived = asyncio.Event()  # set while something waits to be sent
        self._sent = asyncio.Event()  # set while nothing does
        self._sent.set()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run(), name="chatkit-postgres-notifier")

    async def close(self) -> None:
        """Send what waits, within a second. Closing again does nothing."""
        task, self._task = self._task, None
        if task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._sent.wait()
            task.cancel()
            await asyncio.wait([task])

    def send_batch(self, batch: AppendedBatch) -> None:
        """Notify the other processes of a committed batch, soon."""
        self._batches.append(batch)
        self._wake()

    def send(self, payload: str) -> None:
        """Send a payload, soon. It is lost if too many wait."""
        if len(self._payloads) < MAX_UNSENT:
            self._payloads.append(payload)
            self._wake()

    def _wake(self) -> None:
        self._sent.clear()
        self._arrived.set()

    async def _run(self) -> None:
        loop, backoff = asyncio.get_running_loop(), Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while True:
            await self._arrived.wait()
            began_s = loop.time()
            if await self._send_all():
                backoff.reset()
                await asyncio.sleep(self._rest_s(loop.time() - began_s))
            else:
                await asyncio.sleep(backoff.next_s())

    def _rest_s(self, took_s: float) -> float:
        return min(max(took_s, REST_S * (1 + self._count_writers()) ** 2), MAX_REST_S)

    async def _send_all(self) -> bool:
        """Send what waits; return whether that succeeded. Otherwise, a request to compare all rooms waits instead."""
        self._arrived.clear()
        waiting, batches = self._payloads, list(self._batches)
        self._payloads = []
        self._batches.clear()
        try:
            payloads = [*waiting, *encode_appended(self._process, batches)][-MAX_UNSENT:]
            await self._pool.run(
                lambda connection: connection.execute(_NOTIFY, self._schema.channel, payloads), timeout_s=TIMEOUT_S
            )
        except ChatkitError as error:
            _logger.debug("%s: notifying other processes failed: %s", self._schema.display_url, error)
            self._payloads = [RESYNC]
            self._batches.clear()
            self._arrived.set()
            return False
        except Exception:
            # Any error must leave the later notifications unaffected; others find these batches by their numbers.
            _logger.exception("%s: notifying other processes failed", self._schema.display_url)
        if not self._arrived.is_set():
            self._sent.set()
        return True
