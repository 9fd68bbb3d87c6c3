"""LoopGuard: refuses messages of bots in a room in which only bots have written for long, until a person writes.

Two bots that answer each other would fill a room without an end. Only drafts of bots are counted, and now and then the
store is asked for the newest messages, so the guard also sees what other processes committed.
"""

from collections.abc import Callable, Coroutine
from typing import Final, TypeAlias

from chatkit.core.backend import Backend
from chatkit.core.group_commit import Settle
from chatkit.core.model import Draft, Message
from chatkit.errors import BotLoop, ChatkitError, Unavailable

DEFAULT_BOT_LIMIT: Final = 100  # far more than bots answer each other on purpose; a loop gets there in seconds
MAX_BOT_LIMIT: Final = 10_000  # a check reads as many messages
WINDOW_MS: Final = 3_600_000  # older messages belong to no loop: bots that report once a minute are never refused
MAX_WAITING: Final = 10_000  # drafts that wait for checks, which take milliseconds
MAX_ROOMS: Final = 10_000  # whose counts are kept; a room that is forgotten is checked with its next message

Pending: TypeAlias = tuple[Draft, Settle]


class LoopGuard:
    """Passes the drafts of bots on to `submit`, or refuses them with `BotLoop`.

    A room is blocked if its newest `limit` messages are of bots, of at least two different ones, and of the last hour.
    Changes of messages, such as reactions, neither count nor are refused. Messages of senders for whom `is_exempt` is
    true count, but are not refused.

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
        self._submit = submit
        self._spawn = spawn
        self._is_exempt = is_exempt
        self._now_ms = now_ms
        self._n_free: dict[str, int] = {}  # by room: the drafts that need no check
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
        n_free = self._n_free.get(draft.room, 0)
        if n_free and draft.room not in self._waiting:
            self._n_free[draft.room] = n_free - 1
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
                self._set_free(room, run)
        finally:  # if the hub is left during a read
            for _, settle in batch + self._waiting.pop(room):
                settle(Unavailable("the server is shutting down"))

    def _decide(self, run: list[str], draft: Draft, settle: Settle) -> None:
        """Submit a draft and add its sender to the run, or refuse it."""
        if len(run) >= self._limit and len({*run, draft.sender}) > 1:
            settle(BotLoop(draft.room, self._limit))
            return
        try:
            self._submit(draft, settle)
        except ChatkitError as error:
            settle(error)
        else:
            run.append(draft.sender)

    def _set_free(self, room: str, run: list[str]) -> None:
        """Note how many drafts need no check: half of what is left, because other processes accept drafts as well."""
        n_left = self._limit - len(run)
        if n_left <= 0 and len(set(run)) == 1:  # nobody to answer: another bot gets this far before the next check
            n_left = self._limit
        if len(self._n_free) >= MAX_ROOMS and room not in self._n_free:
            del self._n_free[next(iter(self._n_free))]
        self._n_free[room] = max(0, n_left // 2)

    async def _read_run(self, room: str) -> list[str]:
        """Return the senders of the newest messages of a room, back to one of a person or of more than an hour ago.

        It is empty if the store does not answer: then the commit fails as well, and reports why.
        """
        begin_ms = self._now_ms() - WINDOW_MS
        run: list[str] = []
        before: int | None = None
        try:
            while len(run) < self._limit:
                page = await self._backend.read(room, before=before, limit=self._limit - len(run), folded=True)
                for message in reversed(page.messages):
                    if not _is_in_run(message, begin_ms):
                        return run
                    run.append(message.sender)
                if page.complete or not page.messages:
                    break
                before = page.messages[0].seq
        except ChatkitError:
            return []
        return run


def _is_in_run(message: Message, begin_ms: int) -> bool:
    return message.bot and message.time_ms >= begin_ms
