"""LoopGuard: refuses messages of bots in a room in which only bots have written for long, until a person writes.

Two bots that answer each other would fill a room without an end. Only drafts of bots are counted, and now and then the
store is asked for the newest messages, so the guard also sees what other processes committed.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import msgspec

from chatkit.core.access_table import AccessTable
from chatkit.core.audit import SERVER_NAME
from chatkit.core.backend import Backend
from chatkit.core.group_commit import Settle
from chatkit.core.model import Draft, Message
from chatkit.core.tasks import Spawn
from chatkit.errors import BotLoop, ChatkitError, Unavailable

DEFAULT_BOT_LIMIT: Final = 100  # far more than bots answer each other on purpose; a loop gets there in seconds
MAX_BOT_LIMIT: Final = 1_000  # a check reads as many messages
TURNS: Final = 10  # in a loop, at least one message of so many is by another sender than the message before it
WINDOW_MS: Final = 3_600_000  # older messages belong to no loop: bots that report once a minute are never refused
ALONE: Final = 10  # times the limit: so many messages of a bot that writes alone need no check
MAX_WAITING: Final = 10_000  # drafts that wait for checks, which take milliseconds
BATCH: Final = 500  # drafts that one check decides, in less than a millisecond of the event loop
MAX_ROOMS: Final = 10_000  # whose counts are kept; a room that is forgotten is checked with its next message

Pending: TypeAlias = tuple[Draft, Settle]


class Allowance(msgspec.Struct):
    """How many drafts of bots a room accepts without a check; with `only`, those of this sender."""

    n_left: int
    only: str | None


class BotRun:
    """The senders of a room's newest messages, which are all of bots: at most `limit`, the oldest first."""

    def __init__(self, limit: int, senders: Sequence[str] = ()) -> None:
        self._senders = deque(senders, limit)
        self.n_turns = sum(before != after for before, after in pairwise(self._senders))  # changes of sender

    def __len__(self) -> int:
        return len(self._senders)

    @property
    def last(self) -> str | None:
        """The sender of the newest message."""
        return self._senders[-1] if self._senders else None

    def append(self, sender: str) -> None:
        """Add a message. If there are too many, the oldest leaves."""
        senders = self._senders
        if len(senders) == senders.maxlen and len(senders) > 1:
            self.n_turns -= senders[0] != senders[1]
        self.n_turns += len(senders) > 0 and senders[-1] != sender
        senders.append(sender)


class LoopGuard:
    """Passes the drafts of bots on to `submit`, or refuses them with `BotLoop`.

    A room is blocked if its newest `limit` messages are of bots that take turns: all are of the last hour, and at least
    a tenth of them are by another sender than the message before. So a bot that writes alone is never refused, also if
    another bot remarks on it now and then. Changes of messages, such as reactions, neither count nor are
    refused. Messages of incoming webhooks and of the server count, but are not refused.

    `limit` is exact for bots that wait for each other's messages. If several processes serve a room, or if bots publish
    many messages at once, a few more may be stored before the guard notices.
    """

    def __init__(
        self,
        backend: Backend,
        access: AccessTable,
        limit: int,
        *,
        submit: Callable[[Draft, Settle], None],
        spawn: Spawn,
        now_ms: Callable[[], int],
    ) -> None:
        self._backend = backend
        self._access = access
        self._limit = limit
        self._n_turns = max(1, limit // TURNS)
        self._submit = submit
        self._spawn = spawn
        self._now_ms = now_ms
        self._allowances: dict[str, Allowance] = {}  # by room
        self._waiting: dict[str, list[Pending]] = {}  # by room: the drafts that wait for the check in progress
        self._n_waiting = 0

    def holds_back(self, draft: Draft, settle: Settle) -> bool:
        """Return whether a bot's draft waits for a check, after which the guard submits or refuses it.

        Drafts of bots in one room keep their order. Raise `Unavailable` if too many wait, or the hub has been left.
        """
        if not self._limit or draft.act is not None or self._is_free(draft):
            return False
        if self._n_waiting >= MAX_WAITING:
            raise Unavailable("the store does not keep up: too many messages of bots wait to be checked")
        if draft.room not in self._waiting:
            self._spawn(self._check(draft.room))
            self._waiting[draft.room] = []
        self._waiting[draft.room].append((draft, settle))
        self._n_waiting += 1
        return True

    def _is_free(self, draft: Draft) -> bool:
        allowance = self._allowances.get(draft.room)
        if (
            allowance
            and allowance.n_left > 0
            and allowance.only in {None, draft.sender}
            and draft.room not in self._waiting
        ):
            allowance.n_left -= 1
            return True
        return draft.sender == SERVER_NAME or self._access.is_of_hook(draft.sender)

    async def _check(self, room: str) -> None:
        """Submit or refuse the drafts that wait in a room. Those that arrive during a read need another one."""
        batch: list[Pending] = []
        try:
            while waiting := self._waiting[room]:
                batch, self._waiting[room] = waiting[:BATCH], waiting[BATCH:]
                self._n_waiting -= len(batch)
                run = await self._read_run(room)
                while batch:
                    self._decide(run, *batch.pop(0))
                self._allow(room, run)
        finally:  # if the hub is left during a read
            waiting = self._waiting.pop(room)
            self._n_waiting -= len(waiting)
            for _, settle in batch + waiting:
                settle(Unavailable("the server is shutting down"))

    def _decide(self, run: BotRun, draft: Draft, settle: Settle) -> None:
        """Submit a draft and add its sender to the run, or refuse it."""
        if len(run) == self._limit and run.n_turns + (run.last != draft.sender) >= self._n_turns:
            settle(BotLoop(draft.room, self._limit))
            return
        try:
            self._submit(draft, settle)
        except ChatkitError as error:
            settle(error)
        else:
            run.append(draft.sender)

    def _allow(self, room: str, run: BotRun) -> None:
        """Note how many drafts need no check: half of what is left, because other processes accept drafts as well."""
        if len(self._allowances) >= MAX_ROOMS and room not in self._allowances:
            del self._allowances[next(iter(self._allowances))]
        if len(run) == self._limit and not run.n_turns:
            self._allowances[room] = Allowance(self._limit * ALONE, run.last)
        else:
            n_left = max(self._limit - len(run), self._n_turns - run.n_turns)
            self._allowances[room] = Allowance(n_left // 2, None)

    async def _read_run(self, room: str) -> BotRun:
        """Read the newest messages of a room, after the last one that is a person's or an hour old.

        The run is empty if the store does not answer: then the commit fails as well, and reports why.
        """
        begin_ms = self._now_ms() - WINDOW_MS
        newest_first: list[str] = []
        try:
            async for message in self._read_back(room):
                if not message.bot or message.time_ms < begin_ms:
                    break
                newest_first.append(message.sender)
        except ChatkitError:
            newest_first.clear()
        return BotRun(self._limit, newest_first[::-1])

    async def _read_back(self, room: str) -> AsyncIterator[Message]:
        """Iterate over the newest messages of a room, the newest first, without changes of messages."""
        n_left = self._limit
        before: int | None = None
        while n_left:
            page = await self._backend.read(room, before=before, limit=n_left, folded=True)
            for message in reversed(page.messages):
                yield message
            n_left -= len(page.messages)
            if page.complete or not page.messages:
                return
            before = page.messages[0].seq
