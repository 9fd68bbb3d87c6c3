"""Watch: how a process hears what others commit. One connection listens, for all rooms, and is kept alive.

There is one channel for the whole store: so watching a room is a word to nobody, the same for the first as for the ten
thousandth; but every process is told of every commit, and sorts out for itself what it watches. That is some two
microseconds a message.

What is told is only the bell. When the connection breaks, another one listens first, and then every watched room is
compared with the database: so nothing that was told to nobody is missed. A database that knows less than was seen of it
has lost its end, by a failover or a restored copy: it gets a new epoch, so that nobody takes other messages under the
same numbers for those that were there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.postgres.connection import PostgresConnection, PostgresEndpoint, close_connection
from chatkit.backends.postgres.errors import DRIVER_ERRORS, as_ours
from chatkit.backends.postgres.notifications import (
    AppendedPayload,
    OwnAppends,
    RedactedPayload,
    ResyncPayload,
    TypingPayload,
    decode_notice,
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

PING_EVERY_S = 2.0  # how long a dead link may go unnoticed, against a message there and back
PING_S = 4.0  # for an answer: a busy server takes longer than an idle one, but not this long
RETRY_MIN_S, RETRY_MAX_S = 0.05, 0.8  # a store that is back is to be read on within 2 s
HEADS_A_QUERY = 20_000  # names in one question: about a megabyte
# A server that no longer reaches us is to notice: until it does, it keeps for us what it notifies others of.
_SETTINGS = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"

_logger = logging.getLogger(__name__)

_HEADS = """
    SELECT epoch, redactions, name, last FROM {schema}.meta LEFT JOIN {schema}.room ON name = ANY ($1)
"""
_RENEW = """
    WITH renewed AS (UPDATE {schema}.meta SET epoch = $2 WHERE epoch = $1 RETURNING 1)
    SELECT pg_notify($3, '["c"]') FROM renewed
"""
_REDACTED = """
    SELECT name, seq FROM {schema}.message JOIN {schema}.room ON room.id = message.room WHERE redaction > $1
    ORDER BY redaction
"""


class RoomHeads(msgspec.Struct, frozen=True):
    """Where rooms stand, and the messages that were redacted since a redaction."""

    epoch: str
    lasts: dict[str, int]
    redactions: int
    redacted: Sequence[tuple[str, int]]


async def read_heads(
    connection: PostgresConnection, store: PostgresSchema, names: Sequence[str], redactions: int | None
) -> RoomHeads:
    """Read where rooms stand; with `redactions`, also what was redacted after that many."""
    rows = await connection.fetch(store.fill_in(_HEADS), names)
    if not rows:
        raise store.has_no_epoch()
    epoch, now = rows[0]["epoch"], rows[0]["redactions"]
    lasts = dict.fromkeys(names, 0) | {row["name"]: row["last"] for row in rows if row["name"] is not None}
    redacted: list[tuple[str, int]] = []
    if redactions is not None and now > redactions:
        found = await connection.fetch(store.fill_in(_REDACTED), redactions)
        redacted = [(row["name"], row["seq"]) for row in found]
    return RoomHeads(epoch, lasts, now, redacted)


class PostgresListener:
    """What this process watches, and the task that listens for it. `ask` reads heads, on any connection."""

    def __init__(
        self,
        server: PostgresEndpoint,
        store: PostgresSchema,
        process: str,
        inbox: NotificationQueue,
        ask: Callable[[Sequence[str], int | None], Awaitable[RoomHeads]],
    ) -> None:
        self._server = server
        self._store = store
        self._process = process
        self._inbox = inbox
        self._ask = ask
        self.watched: set[str] = set()
        self._seen: dict[str, tuple[str, int]] = {}  # of watched rooms: an epoch, and the last number that it had
        self.own = OwnAppends()
        self._redactions: int | None = None  # as many as were heard of; None: of none yet
        self._is_in_doubt = False  # something was told that only a look at every room explains
        self._stirred = asyncio.Event()  # set when the link broke or is in doubt: wakes the task
        self._connection: PostgresConnection | None = None  # the one that listens
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen; raise an error of ours if that fails."""
        connection = await self._listen()
        self._redactions = (await self._ask([], None)).redactions
        self._task = asyncio.create_task(self._keep(connection), name="chatkit-postgres-watch")

    async def close(self) -> None:
        """Listen no more. Closing again does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._connection is not None:
            await close_connection(self._connection)

    def tell(self, notices: Sequence[AppendedPayload]) -> None:
        """Tell of batches that were committed."""
        self._put([item for notice in notices for item in notice.to_news(self.watched)])

    def saw(self, room: str, epoch: str, last: int) -> None:
        """Know how far a room was."""
        known = self._seen.get(room)
        if room in self.watched and (known is None or known[0] != epoch or known[1] < last):
            self._seen[room] = epoch, last

    def forget(self, room: str) -> None:
        """Watch a room no more."""
        self.watched.discard(room)
        self._seen.pop(room, None)

    async def _keep(self, connection: PostgresConnection) -> None:
        """Listen until cancelled, on another connection whenever one breaks."""
        while True:
            reason = await self._until_broken(connection)
            self._inbox.put([Disconnected(reason)])
            _logger.debug("the link to %s broke: %s", self._store.place, reason)
            connection = await self._mend()

    async def _until_broken(self, connection: PostgresConnection) -> str:
        """Ask now and then whether the server is there; return why it is not."""
        try:
            while True:
                async with asyncio.timeout(PING_S):
                    await connection.execute("SELECT 1")
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_EVERY_S):
                        await self._stirred.wait()
                self._stirred.clear()
                if self._is_in_doubt:
                    await self._check(connection)
        except ChatkitError as error:
            return str(error)
        except DRIVER_ERRORS as error:
            return str(as_ours(error, self._store.place))
        except Exception:
            # Whatever it is, nobody is to be left deaf.
            _logger.exception("the link to %s failed", self._store.place)
            return f"the link to {self._store.place} failed; the log says how"
        finally:
            connection.terminate()

    async def _mend(self) -> PostgresConnection:
        """Listen again, and see what was missed."""
        backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while True:
            await asyncio.sleep(backoff.next_s())
            connection = None
            try:
                connection = await self._listen()
                await self._check(connection)
            except ChatkitError as error:
                _logger.debug("the link to %s is not mended: %s", self._store.place, error)
            except Exception:
                _logger.exception("the link to %s is not mended", self._store.place)
            else:
                self._inbox.put([Reconnected()])
                return connection
            if connection is not None:
                connection.terminate()

    async def _listen(self) -> PostgresConnection:
        self._stirred.clear()
        try:
            connection = await self._server.connect(_SETTINGS)
        except DRIVER_ERRORS as error:
            raise as_ours(error, self._store.place) from error
        self._connection = connection
        connection.add_termination_listener(self._ended)
        try:
            async with asyncio.timeout(PING_S):
                await connection.add_listener(self._store.channel, self._heard)
        except DRIVER_ERRORS as error:
            connection.terminate()
            raise as_ours(error, self._store.place) from error
        return connection

    async def _check(self, connection: PostgresConnection) -> None:
        """Tell where every watched room stands, and what was redacted since the last redaction that was heard of."""
        self._is_in_doubt = False
        names = list(self.watched)
        for start in range(0, len(names) or 1, HEADS_A_QUERY):
            heads = await self._heads(connection, names[start : start + HEADS_A_QUERY])
            self._put([RoomAdvanced(room, last, epoch=heads.epoch) for room, last in heads.lasts.items()])
            self._put([MessageRedacted(room, seq) for room, seq in heads.redacted if room in self.watched])
        self._redactions = heads.redactions

    async def _heads(self, connection: PostgresConnection, names: Sequence[str]) -> RoomHeads:
        """Ask where rooms stand; begin a new epoch if the database has lost what was seen of one."""
        seen = {name: self._seen[name] for name in names if name in self._seen}  # before: it may only have grown since
        heads = await self._ask(names, self._redactions)
        if not any(epoch == heads.epoch and last > heads.lasts[name] for name, (epoch, last) in seen.items()):
            return heads
        _logger.warning("%s has lost messages that it had: its rooms begin a new epoch", self._store.place)
        await connection.execute(self._store.fill_in(_RENEW), heads.epoch, new_epoch(), self._store.channel)
        return await self._ask(names, self._redactions)

    def _ended(self, _: PostgresConnection) -> None:
        self._stirred.set()

    def _heard(self, _: PostgresConnection, _pid: int, _channel: str, payload: str) -> None:
        try:
            notice = decode_notice(payload)
        except msgspec.DecodeError:
            notice = ResyncPayload()  # not of this version of chatkit, or of somebody's by hand
        match notice:
            case AppendedPayload(process):
                if process != self._process or self.own.is_news(notice):
                    self._put(notice.to_news(self.watched))
            case RedactedPayload(room, seq, number):
                self._redactions = number
                self._put([MessageRedacted(room, seq)] if room in self.watched else [])
            case TypingPayload(process, room, sender):
                is_news = process != self._process and room in self.watched
                self._put([Typing(room, sender)] if is_news else [])
            case ResyncPayload():
                self._is_in_doubt = True
                self._stirred.set()

    def _put(self, news: list[Notification]) -> None:
        for item in news:
            if isinstance(item, RoomAdvanced):
                self.saw(item.room, item.epoch or item.messages[-1].epoch, item.last)
        if news:
            self._inbox.put(news)
