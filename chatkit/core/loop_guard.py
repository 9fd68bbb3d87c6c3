"""LoopGuard: refuses messages of bots in a room in which only bots have written for long, until a person writes.

Two bots that answer each other would fill a room without an end. Only drafts of bots are counted, and now and then the
store is asked for the newest messages, so the guard also sees what other processes committed.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import msgspec

from chatkit.core.backend import Backend
from chatkit.core.group_commit import Settle
from chatkit.core.model import Draft, Message
from chatkit.errors import BotLoop, ChatkitError, Unavailable

DEFAULT_BOT_LIMIT: Final = 100  # far more than bots answer each other on purpose; a loop gets there in seconds
MAX_BOT_LIMIT: Final = 1_000  # a check reads as many messages
TURNS: Final = 10  # in a loop, at least one message of so many is by another sender than the message before it
WINDOW_MS: Final = 3_600_000  # older messages belong to no loop: bots that report once a minute are never refused
ALONE: Final = 10  # times the limit: so many messages of a bot that writes alone need no check
MAX_WAITING: Final = 10_000  # drafts that wait for checks, which take milliseconds
MAX_ROOMS: Final = 10_000  # whose counts are kept; a room that is forgotten is checked with its next message

Pending: TypeAlias = tuple[Draft, Settle]


class Allowance(msgspec.Struct):
    """How many drafts of bots a room accepts without a check; with `only`, those of this sender."""

    n_left: int
    only: str | None


class LoopGuard:
    """Passes the drafts of bots on to `submit`, or refuses them with `BotLoop`.

    A room is blocked if its newest `limit` messages are of bots that take turns: all are of the last hour, and at least
    a tenth of them are by another sender than the message before. So a bot that writes alone is never refused, nor
    because another bot remarks on it now and then. Changes of messages, such as reactions, neither count nor are
    refused. Messages of senders for whom `is_exempt` is true count, but are not refused.

    `limit` is exact for bots that wait for each other's messages. If several processes serve a room, or if bots publish
    many messages at once, a few more may be stored before the guard notices.
    """

    def __init__(
        self,
        backend: Backend,
        limit: int,
        *,
        submit: Callable[[Draft, Settle], None],
        spawn: Callable[[Coroutine[None, None, None]], object],
        is_exempt: Callable[[str], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._backend = backend
        self._limit = limit
        self._n_turns = max(1, limit // TURNS)
        self._submit = submit
        self._spawn = spawn
        self._is_exempt = is_exempt
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
        return self._is_exempt(draft.sender)

    async def _check(self, room: str) -> None:
        """Submit or refuse the drafts that wait in a room. Those that arrive during a read need another one."""
        batch: list[Pending] = []
        try:
            while batch := self._waiting[room]:
                self._waiting[room] = []
                self._n_waiting -= len(batch)
                run = await self._read_run(room)
                while batch:
                    self._decide(run, *batch.pop(0))
                self._allow(room, run)
        finally:  # if the hub is left during a read
            for _, settle in batch + self._waiting.pop(room):
                settle(Unavailable("the server is shutting down"))

    def _decide(self, run: deque[str], draft: Draft, settle: Settle) -> None:
        """Submit a draft and add its sender to the run, or refuse it."""
        if len(run) == self._limit and _count_turns((*run, draft.sender)) >= self._n_turns:
            settle(BotLoop(draft.room, self._limit))
            return
        try:
            self._submit(draft, settle)
        except ChatkitError as error:
            settle(error)
        else:
            run.append(draft.sender)

    def _allow(self, room: str, run: deque[str]) -> None:
        """Note how many drafts need no check: half of what is left, because other processes accept drafts as well."""
        if len(self._allowances) >= MAX_ROOMS and room not in self._allowances:
            del self._allowances[next(iter(self._allowances))]
        n_turns = _count_turns(run)
        if len(run) == self._limit and not n_turns:
            self._allowances[room] = Allowance(self._limit * ALONE, run[0])
        else:
            n_left = max(self._limit - len(run), self._n_turns - n_turns)
            self._allowances[room] = Allowance(n_left // 2, None)

    async def _read_run(self, room: str) -> deque[str]:
        """Return the senders of a room's newest messages, after the last one that is a person's or an hour old.

        It is empty if the store does not answer: then the commit fails as well, and reports why.
        """
        begin_ms = self._now_ms() - WINDOW_MS
        run: deque[str] = deque(maxlen=self._limit)
        before: int | None = None
        try:
            while len(run) < self._limit:
                page = await self._backend.read(room, before=before, limit=self._limit - len(run), folded=True)
                for message in reversed(page.messages):
                    if not _is_in_run(message, begin_ms):
                        return run
                    run.appendleft(message.sender)
                if page.complete or not page.messages:
                    break
                before = page.messages[0].seq
        except ChatkitError:
            run.clear()
        return run


def _count_turns(senders: Sequence[str]) -> int:
    """Return how often the sender changes."""
    return sum(before != after for before, after in pairwise(senders))


def _is_in_run(message: Message, begin_ms: int) -> bool:
    return message.bot and message.time_ms >= begin_ms
