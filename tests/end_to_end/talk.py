"""Clients that publish, edit, react, redact, go away and come back at random, while their servers are killed.

`python tests/end_to_end/talk.py STORE_URL [SECONDS]` runs it on two servers of a store; the suite runs a short version.
At the end, what each client folds from the entries that were delivered to it, what Node folds with the page's module,
and what the store shows have to be the same.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import aclosing, suppress
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from page_fold import page_fold
from serving import ServerProcess, serve

from chatkit.client import Client
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.relations import fold
from chatkit.errors import BadReference, Forbidden, NotFound, Unavailable

ROOM = "talk"
NAMES = ("ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "jan")
EMOJIS = ("👍", "🎉", ":ok:", "❤️")
RECENT = 30  # messages from whose numbers a target is chosen
PAUSE_S = 0.02  # between two actions of a client
KILL_EVERY_S = 3.0
SETTLE_S = 60.0  # for the last entries to be delivered


class Report(msgspec.Struct, frozen=True):
    """What happened: entries by kind, refused actions, kills, and how often a client came back."""

    entries: dict[str, int]
    n_refused: int
    n_unavailable: int
    n_kills: int
    n_returns: int


class Talker:
    """One client: it acts at random, follows the room with pauses, and keeps every entry that was delivered."""

    def __init__(self, server: ServerProcess, name: str, seed: int) -> None:
        self.entries: dict[int, Message] = {}
        self.gaps: list[Gap] = []
        self.n_refused = self.n_returns = self.n_unavailable = 0
        self._client = Client(server.url, name)
        self._random = random.Random(seed)
        self._cursor: Cursor | None = None
        self._reacted: list[tuple[int, str]] = []

    async def run(self, until_s: float, all_ended: asyncio.Barrier) -> None:
        """Act and follow until a time of the monotonic clock, and then until everything has been delivered."""
        async with self._client:
            following = asyncio.ensure_future(self._follow(until_s))
            while time.monotonic() < until_s:
                try:
                    await self._act()
                except (BadReference, Forbidden, NotFound):
                    self.n_refused += 1
                except Unavailable:  # a call over HTTP while the server is being started again
                    self.n_unavailable += 1
                await asyncio.sleep(PAUSE_S * self._random.random() * 2)
            await all_ended.wait()
            last = (await self._client.history(ROOM, limit=1)).last
            async with asyncio.timeout(SETTLE_S):
                while last > max(self.entries, default=0):  # noqa: ASYNC110 - the follower is another task
                    await asyncio.sleep(0.05)
            following.cancel()
            await asyncio.wait([following])

    async def _act(self) -> None:
        target = max(self.entries, default=0) - self._random.randrange(RECENT)
        client, emoji = self._client, self._random.choice(EMOJIS)
        match self._random.randrange(10) if target > 0 else 0:
            case 0 | 1 | 2:
                await client.publish(ROOM, f"{client.name} {self._random.randrange(10**6)} @{emoji}")
            case 3:
                await client.reply(ROOM, target, f"{client.name} replies")
            case 4 | 5:
                mine = [seq for seq, entry in self.entries.items() if entry.sender == client.name and not entry.act]
                await client.edit(ROOM, self._random.choice(mine[-RECENT:] or [target]), f"edited {time.monotonic()}")
            case 6 | 7:
                await client.react(ROOM, target, emoji)
                self._reacted.append((target, emoji))
            case 8 if self._reacted:
                await client.unreact(ROOM, *self._reacted.pop(self._random.randrange(len(self._reacted))))
            case _ if self._random.random() < 0.3:
                await self._redact(target)
            case _:
                pinned = [entry.of or 0 for entry in self.entries.values() if entry.act is Act.PIN]
                if pinned and self._random.random() < 0.4:
                    await client.unpin(ROOM, pinned[-1])
                else:
                    await client.pin(ROOM, target)

    async def _redact(self, seq: int) -> None:
        """Redact a message, again and again until a server has said that it did."""
        while True:
            try:
                return await self._client.redact(ROOM, seq)
            except Unavailable:  # the server may have been killed halfway
                self.n_unavailable += 1
                await asyncio.sleep(0.1)

    async def _follow(self, until_s: float) -> None:
        while True:
            stays_s = self._random.uniform(0.5, 3.0)
            with suppress(TimeoutError):
                async with asyncio.timeout(stays_s if time.monotonic() + stays_s < until_s else None):
                    await self._receive()
            self.n_returns += 1
            await asyncio.sleep(self._random.random() / 2)

    async def _receive(self) -> None:
        async with aclosing(self._client.follow(ROOM, after=self._cursor, history=1_000)) as items:
            async for item in items:
                if isinstance(item, Gap):
                    self.gaps.append(item)
                    continue
                if item.seq in self.entries:
                    raise AssertionError(f"entry {item.seq} was delivered twice")
                self.entries[item.seq] = item
                self._cursor = item.cursor


async def kill_now_and_then(servers: list[ServerProcess], every_s: float, until_s: float) -> int:
    """Kill one server after another, start it again, and return how often."""
    n_kills = 0
    while time.monotonic() + every_s < until_s:
        await asyncio.sleep(every_s)
        server = servers[n_kills % len(servers)]
        await asyncio.to_thread(server.kill9)
        await asyncio.to_thread(server.start)
        n_kills += 1
    return n_kills


def essence(messages: list[Message]) -> list[tuple[object, ...]]:
    """Return what has to be the same of messages, wherever they were folded."""
    return [(each.seq, each.sender, each.body, each.of, each.mentions, each.redacted, each.state) for each in messages]


async def talk(
    servers: list[ServerProcess], seconds: float, *, kill_every_s: float = KILL_EVERY_S, seed: int = 0
) -> Report:
    """Run ten clients on the servers. Raise `AssertionError` if they do not agree at the end."""
    until_s = time.monotonic() + seconds
    async with Client(servers[0].url, "first") as first:
        await first.publish(ROOM, "one")
    talkers = [Talker(servers[n % len(servers)], name, seed + n) for n, name in enumerate(NAMES)]
    all_ended = asyncio.Barrier(len(talkers))
    async with asyncio.TaskGroup() as tasks:  # a server that does not start again ends all
        killing = tasks.create_task(kill_now_and_then(servers, kill_every_s, until_s - kill_every_s))
        for talker in talkers:
            tasks.create_task(talker.run(until_s, all_ended))
    n_kills = killing.result()
    async with Client(servers[0].url) as reader:
        raw = [item async for item in reader.scroll(ROOM, raw=True) if isinstance(item, Message)]
        shown = [item async for item in reader.scroll(ROOM) if isinstance(item, Message)]
    wanted = essence(shown)
    assert essence(fold(raw)) == wanted, "what the store shows is not the fold of its log"
    with page_fold() as fold_in_page:
        assert essence(fold_in_page(raw)) == wanted, "the page's module folds the log in another way"
    for talker, name in zip(talkers, NAMES, strict=True):
        assert talker.gaps == [], name
        assert sorted(talker.entries) == list(range(1, raw[-1].seq + 1)), f"{name} missed entries"
        folded = essence(fold(talker.entries[seq] for seq in sorted(talker.entries)))
        different = [pair for pair in zip(folded, wanted, strict=False) if pair[0] != pair[1]]
        assert folded == wanted, f"{name} folds to another state: {different[:2]}"
    kinds = Counter("reply" if each.of and not each.act else each.act or "message" for each in raw)
    counts = {
        name: sum(getattr(each, name) for each in talkers) for name in ("n_refused", "n_unavailable", "n_returns")
    }
    return Report({str(kind): count for kind, count in kinds.items()}, n_kills=n_kills, **counts)


def main() -> None:
    """Run it on two servers of the store that the command line names."""
    store, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(store, "--rate-limit", "0", folder=Path(folder)) as one,
        serve(store, "--rate-limit", "0", folder=Path(folder)) as two,
    ):
        print(json.dumps(msgspec.to_builtins(asyncio.run(talk([one, two], seconds)))))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
