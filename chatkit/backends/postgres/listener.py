"""PostgresListener: receives the commits of other processes, on one connection for all rooms.

The whole store has one channel. Watching a room therefore needs no statement, however many rooms are watched; but every
process gets every commit, and discards those of rooms that it does not watch, at some two microseconds a message.

Batches are notified after their commits, in any order. One whose notification does not come is found by its number
(batch_numbers.py), with each ping: then every watched room is compared with the database.

Notifications may also be lost with the connection. When it breaks, another connection listens first, and then every
watched room is compared with the database, so that nothing is missed. If the database has fewer messages than this
process has seen, it has lost its newest ones, by a failover or a restored copy: then it gets a new epoch, so that no
reader takes other messages with the same numbers for those that it knows.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import asyncpg
import msgspec

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.postgres.batch_numbers import BatchNumbers
from chatkit.backends.postgres.connection import PostgresConnection, PostgresEndpoint, close_connection
from chatkit.backends.postgres.errors import DRIVER_ERRORS, MISSING, state_of, to_chatkit_error
from chatkit.backends.postgres.notifications import (
    AppendedPayload,
    DeletedPayload,
    RedactedPayload,
    ResyncPayload,
    TypingPayload,
    decode_payload,
)
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.backoff import Backoff
from chatkit.core.backend import (
    Disconnected,
    MessageRedacted,
    Notification,
    Reconnected,
    RoomAdvanced,
    Typing,
    new_epoch,
)
from chatkit.errors import ChatkitError

# How long a dead connection may go unnoticed, and a batch without a notification between one and two times as long. A
# shorter time would take the notifications of an overloaded server for lost ones.
PING_EVERY_S = 2.0
PING_S = 4.0  # for an answer: a busy server is slower than an idle one, but not slower than this
RETRY_MIN_S, RETRY_MAX_S = 0.05, 0.8  # reading must go on within 2 s of the store's return
MAX_HEADS_A_QUERY = 20_000  # names in one query: about a megabyte
# A server that can no longer reach this process must detect that: until then it queues notifications for it.
_SETTINGS = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"

_logger = logging.getLogger(__name__)

_HEADS = """
    SELECT epoch, redactions, name, epoch || epoch_suffix AS room_epoch, last
    FROM {schema}.meta LEFT JOIN {schema}.room ON name = ANY ($1)
"""
_NUMBERS = """
    SELECT last_value AS newest, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_running
    FROM {schema}.batch
"""
_NEW_TRANSACTION = "SELECT pg_current_xact_id()::text::bigint"
_RENEW_EPOCH = """
    WITH renewed AS (UPDATE {schema}.meta SET epoch = $2 WHERE epoch = $1 RETURNING 1)
    SELECT pg_notify($3, '["c"]') FROM renewed
"""
_REDACTED = """
    SELECT name, seq FROM {schema}.message JOIN {schema}.room ON room.id = message.room WHERE redaction > $1
    ORDER BY redaction
"""


class RoomHeads(msgspec.Struct, frozen=True):
    """The heads of rooms, and the messages that were redacted after a number of redactions.

    `epoch` is the store's; `heads` has the epoch and the last number of each room.
    """

    epoch: str
    heads: dict[str, tuple[str, int]]
    redactions: int
    redacted: Sequence[tuple[str, int]]


async def compare_heads(
    connection: PostgresConnection, schema: PostgresSchema, names: Sequence[str], redactions: int | None
) -> RoomHeads:
    """Return the heads of rooms, and, with `redactions`, the messages that were redacted after that many."""
    rows = await connection.fetch(schema.fill_in(_HEADS), names)
    if not rows:
        raise schema.missing_epoch_error()
    epoch, now = rows[0]["epoch"], rows[0]["redactions"]
    heads = dict.fromkeys(names, (epoch, 0))
    heads |= {row["name"]: (row["room_epoch"], row["last"]) for row in rows if row["name"] is not None}
    redacted: list[tuple[str, int]] = []
    if redactions is not None and now > redactions:
        found = await connection.fetch(schema.fill_in(_REDACTED), redactions)
        redacted = [(row["name"], row["seq"]) for row in found]
    return RoomHeads(epoch, heads, now, redacted)


def is_behind(head: tuple[str, int], known: tuple[str, int]) -> bool:
    """Return whether a log, by its epoch and last number, lacks messages that this process has seen."""
    return head[0] == known[0] and head[1] < known[1]


class PostgresListener:
    """The rooms that this process watches, and the task that listens. `read_heads` may use any connection."""

    def __init__(
        self,
        endpoint: PostgresEndpoint,
        schema: PostgresSchema,
        process: str,
        notifications: NotificationQueue,
        read_heads: Callable[[Sequence[str], int | None], Awaitable[RoomHeads]],
    ) -> None:
        self._endpoint = endpoint
        self._schema = schema
        # Payloads of this process: its receipts and its clients have told it.
        self._own = f'["a","{process}"', f'["t","{process}"'
        self._notifications = notifications
        self._read_heads = read_heads
        self.watched: set[str] = set()
        self._seen: dict[str, tuple[str, int]] = {}  # by watched room: an epoch, and the last number seen in it
        self._notified: dict[str, tuple[str, int]] = {}  # the same of the last notification
        self.numbers = BatchNumbers()
        self._writers: set[str] = set()  # the other processes of which batches came since the last ping
        self._n_writers = 0  # those of the interval between two pings before
        self._redactions: int | None = None  # the number of redactions that this process knows; None before the first
        self._needs_resync = False  # a payload requires that all watched rooms are compared
        self._wake = asyncio.Event()  # set when the connection broke or a resync is needed: wakes the task
        self._connection: PostgresConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start listening; raise an error of chatkit if that fails."""
        connection = await self._listen()
        redactions = (await self._read_heads([], None)).redactions
        self._redactions = max(redactions, self._redactions or 0)  # one may have been notified in between
        self._task = asyncio.create_task(self._run(connection), name="chatkit-postgres-listener")

    async def close(self) -> None:
        """Stop listening. Closing again does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._connection is not None:
            await close_connection(self._connection)

    def record_seen(self, room: str, epoch: str, last: int) -> None:
        """Record that the room's log has reached `last` in this epoch."""
        known = self._seen.get(room)
        if room in self.watched and (known is None or known[0] != epoch or known[1] < last):
            self._seen[room] = epoch, last

    def unwatch(self, room: str) -> None:
        """Stop watching a room."""
        self.watched.discard(room)
        self._seen.pop(room, None)
        self._notified.pop(room, None)

    def count_writers(self) -> int:
        """Return how many other processes have appended within the last seconds."""
        return max(self._n_writers, len(self._writers))

    async def _run(self, connection: PostgresConnection) -> None:
        """Listen until cancelled; open another connection when one breaks."""
        while True:
            reason = await self._wait_until_broken(connection)
            self._notifications.put([Disconnected(reason)])
            _logger.debug("the connection to %s broke: %s", self._schema.display_url, reason)
            connection = await self._reconnect()

    async def _wait_until_broken(self, connection: PostgresConnection) -> str:
        """Ping the server regularly; return why the connection broke."""
        try:
            while True:
                await self._ping(connection)
                if self._needs_resync:
                    await self._resync(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_EVERY_S):
                        await self._wake.wait()
                self._wake.clear()
        except ChatkitError as error:
            return str(error)
        except DRIVER_ERRORS as error:
            return str(to_chatkit_error(error, self._schema.display_url))
        except Exception:
            # Any error must lead to a new connection: otherwise this process would get no more notifications.
            _logger.exception("the connection to %s failed", self._schema.display_url)
            return f"the connection to {self._schema.display_url} failed; see the log"
        finally:
            connection.terminate()

    async def _ping(self, connection: PostgresConnection) -> None:
        """Check the connection, and whether this process was notified of all batches."""
        self._n_writers, self._writers = len(self._writers), set()
        async with asyncio.timeout(PING_S):
            if self.numbers.check(*await self._read_numbers(connection)):
                _logger.debug("%s has a batch without a notification: comparing rooms", self._schema.display_url)
                self.numbers.wait_for(await connection.fetchval(_NEW_TRANSACTION))
                self._needs_resync = True

    async def _read_numbers(self, connection: PostgresConnection) -> tuple[int, int]:
        """Return the arguments of `BatchNumbers.check`."""
        try:
            row = await connection.fetchrow(self._schema.fill_in(_NUMBERS))
        except asyncpg.PostgresError as error:
            if state_of(error) not in MISSING:
                raise
            row = None  # the schema was dropped: the next append or read creates it
        return (0, 0) if row is None else (row["newest"], row["oldest_running"])

    async def _reconnect(self) -> PostgresConnection:
        """Listen on a new connection, and compare every watched room with the database."""
        backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while True:
            await asyncio.sleep(backoff.next_s())
            connection = None
            try:
                connection = await self._listen()
                await self._resync(connection)
            except ChatkitError as error:
                _logger.debug("the connection to %s cannot be restored: %s", self._schema.display_url, error)
            except Exception:
                _logger.exception("the connection to %s cannot be restored", self._schema.display_url)
            else:
                self._notifications.put([Reconnected()])
                return connection
            if connection is not None:
                connection.terminate()

    async def _listen(self) -> PostgresConnection:
        self._wake.clear()
        try:
            connection = await self._endpoint.connect(_SETTINGS)
        except DRIVER_ERRORS as error:
            raise to_chatkit_error(error, self._schema.display_url) from error
        self._connection = connection
        connection.add_termination_listener(self._on_terminated)
        try:
            async with asyncio.timeout(PING_S):
                await connection.add_listener(self._schema.channel, self._on_payload)
                self.numbers.restart((await self._read_numbers(connection))[0])
                self.numbers.wait_for(await connection.fetchval(_NEW_TRANSACTION))
                # If those transactions have ended, the comparison that follows includes them; otherwise, a later one.
                self.numbers.check(*await self._read_numbers(connection))
        except DRIVER_ERRORS as error:
            connection.terminate()
            raise to_chatkit_error(error, self._schema.display_url) from error
        return connection

    async def _resync(self, connection: PostgresConnection) -> None:
        """Notify the head of every watched room, and the redactions since the last known one."""
        self._needs_resync = False
        names = list(self.watched)
        for start in range(0, len(names) or 1, MAX_HEADS_A_QUERY):
            redactions = self._redactions
            heads = await self._check_heads(connection, names[start : start + MAX_HEADS_A_QUERY])
            self._notify([RoomAdvanced(room, last, epoch=epoch) for room, (epoch, last) in heads.heads.items()])
            self._notify([MessageRedacted(room, seq) for room, seq in heads.redacted if room in self.watched])
            if self._redactions == redactions:  # otherwise, a later one was notified in between
                self._redactions = heads.redactions

    async def _check_heads(self, connection: PostgresConnection, names: Sequence[str]) -> RoomHeads:
        """Return the heads of the rooms. If the database has lost messages, give it a new epoch first."""
        # Read before the heads: the log may grow in between.
        seen = {name: self._seen[name] for name in names if name in self._seen}
        heads = await self._read_heads(names, self._redactions)
        if not any(is_behind(heads.heads[name], known) for name, known in seen.items()):
            return heads
        _logger.warning("%s has lost messages that it had: its rooms get a new epoch", self._schema.display_url)
        await connection.execute(self._schema.fill_in(_RENEW_EPOCH), heads.epoch, new_epoch(), self._schema.channel)
        return await self._read_heads(names, self._redactions)

    def _on_terminated(self, _: PostgresConnection) -> None:
        self._wake.set()

    def _on_payload(self, _: PostgresConnection, _pid: int, _channel: str, encoded: str) -> None:
        if encoded.startswith(self._own):
            return
        try:
            payload = decode_payload(encoded)
        except msgspec.DecodeError:
            payload = ResyncPayload()  # it is of another version of chatkit, or was sent by hand
        match payload:
            case AppendedPayload(numbers=numbers):
                for number in numbers:
                    self.numbers.add(number)
                self._on_appended(payload)
            case RedactedPayload(room, seq, number):
                self._redactions = number
                self._notify([MessageRedacted(room, seq)] if room in self.watched else [])
            case DeletedPayload(room, epoch):
                self._notify([RoomAdvanced(room, 0, epoch=epoch)] if room in self.watched else [])
            case TypingPayload(_, room, sender):
                self._notify([Typing(room, sender)] if room in self.watched else [])
            case ResyncPayload():
                self._resync_soon()

    def _on_appended(self, payload: AppendedPayload) -> None:
        self._writers.add(payload.process)
        items = payload.to_notifications(self.watched, self._redactions or 0)
        if payload.redactions is not None:
            seen = [self._seen.get(item.room, (item.epoch,)) for item in items]
            if any(known[0] != item.epoch for known, item in zip(seen, items, strict=True)):
                # The room has begun another log before the notification of this one came, or after it was sent.
                self._resync_soon()
                return
        # A later batch may have been notified first: then the room was read up to that one.
        self._notify([item for item in items if not is_behind((item.epoch, item.last), self._notified_of(item))])

    def _notified_of(self, item: RoomAdvanced) -> tuple[str, int]:
        return self._notified.get(item.room, (item.epoch, 0))

    def _resync_soon(self) -> None:
        self._needs_resync = True
        self._wake.set()

    def _notify(self, notifications: Sequence[Notification]) -> None:
        for item in notifications:
            if isinstance(item, RoomAdvanced):
                self.record_seen(item.room, item.epoch, item.last)
                if item.room in self.watched:  # not if it was unwatched while the rooms were compared
                    self._notified[item.room] = item.epoch, item.last
        if notifications:
            self._notifications.put(notifications)
