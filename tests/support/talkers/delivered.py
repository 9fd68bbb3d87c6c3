"""Clients that keep every entry that is delivered to them, and fold them at the end."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence

from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.relations import fold
from talkers.talker import Outcome, Talker


def essence(messages: Sequence[Message]) -> list[tuple[object, ...]]:
    """Return what has to be the same of messages, wherever they were folded."""
    return [(each.seq, each.sender, each.body, each.of, each.mentions, each.redacted, each.state) for each in messages]


class DeliveredTalker(Talker):
    """A client that continues at its cursor when it comes back."""

    _following: asyncio.Task[None]

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # those of the base class
        self.entries: dict[int, Message] = {}
        self.gaps: list[Gap] = []
        self._cursor: Cursor | None = None

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        self._following = tasks.create_task(self._follow())

    async def _go_and_return(self, tasks: asyncio.TaskGroup) -> None:
        await self._stop()
        await self._sleep_away()
        self._following = tasks.create_task(self._follow())

    async def _stop(self) -> None:
        self._following.cancel()
        await asyncio.wait([self._following])

    async def _settle(self, last: int) -> None:
        while last > max(self.entries, default=0):  # noqa: ASYNC110 - the follower is another task
            await asyncio.sleep(0.05)

    @abstractmethod
    async def _follow(self) -> None:
        """Pass on what follows the cursor, until the task is cancelled."""

    def _receive(self, item: Message | Gap) -> None:
        if isinstance(item, Gap):
            self.gaps.append(item)
            return
        if item.seq in self.entries:
            raise AssertionError(f"entry {item.seq} was delivered twice to {self.name}")
        self.entries[item.seq] = item
        self._cursor = item.cursor
        self._known.add(item)

    def check(self, outcome: Outcome) -> None:
        assert self.gaps == [], self.name
        assert sorted(self.entries) == list(range(1, outcome.raw[-1].seq + 1)), f"{self.name} missed entries"
        folded, wanted = essence(fold(self.entries[seq] for seq in sorted(self.entries))), essence(outcome.shown)
        different = [pair for pair in zip(folded, wanted, strict=False) if pair[0] != pair[1]]
        assert folded == wanted, f"{self.name} folds to another state: {different[:2]}"
