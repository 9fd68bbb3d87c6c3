"""Clients of all kinds that publish, edit, react, redact, go away and come back while their servers are killed.

`python tests/end_to_end/talk.py STORE_URL --seconds 2400 --pause 3` runs it on two servers of a store; the suite runs
a short version. At the end, what each client shows or folds from what was delivered to it, what Node folds with the
page's module, and what the store shows have to be the same.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from page_fold import page_fold
from serving import ServerFailedError, ServerProcess, serve
from talkers.curl import CurlTalker
from talkers.delivered import essence
from talkers.join import JoinTalker
from talkers.known import Known
from talkers.node import NodeTalker
from talkers.page import PageTalker
from talkers.python import PythonTalker
from talkers.talker import END, ROOM, Ending, Outcome, Pace, Place, Talker

from chatkit.client import Client
from chatkit.core.model import Message
from chatkit.core.relations import fold

NAMES = ("ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "jan")
KINDS: tuple[type[Talker], ...] = (
    PythonTalker, PythonTalker, PythonTalker, CurlTalker, CurlTalker,
    NodeTalker, NodeTalker, JoinTalker, JoinTalker, PageTalker,
)  # fmt: skip
KILL_EVERY_S = 3.0
MAX_STARTS = 5


class Report(msgspec.Struct, frozen=True):
    """What happened: entries by kind, kills, and for each kind of client its actions and how often it came back."""

    seconds: float
    entries: dict[str, int]
    n_kills: int
    clients: dict[str, dict[str, int]]


async def kill_now_and_then(servers: Sequence[ServerProcess], every_s: float, until_s: float) -> int:
    """Kill one server after another, start it again, and return how often."""
    n_kills = 0
    while n_kills == 0 or time.monotonic() + every_s < until_s:
        await asyncio.sleep(every_s)
        server = servers[n_kills % len(servers)]
        await asyncio.to_thread(server.kill9)
        await asyncio.to_thread(start, server)
        n_kills += 1
    return n_kills


def start(server: ServerProcess) -> None:
    """Start a server, again if it is not ready in time: on few cores, the clients keep it from that."""
    for _ in range(MAX_STARTS - 1):
        with suppress(ServerFailedError):
            server.start()
            return
    server.start()


async def talk(
    servers: Sequence[ServerProcess],
    folder: Path,
    seconds: float,
    *,
    kinds: Sequence[type[Talker]] = KINDS,
    pace: Pace = Pace(),  # noqa: B008 - a value
    kill_every_s: float = KILL_EVERY_S,
    seed: int = 0,
) -> Report:
    """Run clients on the servers. Raise `AssertionError` if they do not agree at the end."""
    known, ending, talkers = Known(), Ending(len(kinds)), list[Talker]()
    for n, (kind, name) in enumerate(zip(kinds, NAMES, strict=False)):
        (folder / name).mkdir()
        place = Place(servers[n % len(servers)].url, folder / name)
        talkers.append(kind(name, place, known, pace, seed + n))
    async with Client(servers[0].url, "first") as first:
        await first.publish(ROOM, "one")
        started_s = time.monotonic()
        until_s = started_s + seconds
        async with asyncio.TaskGroup() as tasks:  # a server that does not start again ends all
            killing = tasks.create_task(kill_now_and_then(servers, kill_every_s, until_s - kill_every_s))
            for talker in talkers:
                tasks.create_task(talker.run(until_s, ending))
            await ending.all_stored()
            ending.publish((await first.publish(ROOM, END)).message.seq)
    outcome = await read_outcome(servers[0])
    for talker in talkers:
        talker.check(outcome)
    return report(outcome, talkers, killing.result(), time.monotonic() - started_s)


async def read_outcome(server: ServerProcess) -> Outcome:
    """Return what the store has. Raise `AssertionError` unless that is the fold of its log, also in Node."""
    async with Client(server.url) as reader:
        raw = [item async for item in reader.scroll(ROOM, raw=True) if isinstance(item, Message)]
        shown = [item async for item in reader.scroll(ROOM) if isinstance(item, Message)]
    assert essence(fold(raw)) == essence(shown), "what the store shows is not the fold of its log"
    with page_fold() as fold_in_page:
        assert essence(fold_in_page(raw)) == essence(shown), "the page's module folds the log in another way"
    return Outcome(raw, shown)


def report(outcome: Outcome, talkers: Sequence[Talker], n_kills: int, seconds: float) -> Report:
    """Count what happened."""
    entries = Counter(str("reply" if each.of and not each.act else each.act or "message") for each in outcome.raw)
    clients: dict[str, dict[str, int]] = {}
    for talker in talkers:
        counts = clients.setdefault(talker.kind, Counter())
        counts["clients"] += 1
        for name in ("actions", "refused", "unavailable", "returns", "compared"):
            counts[name] += getattr(talker, f"n_{name}", 0)
    return Report(round(seconds, 1), dict(entries), n_kills, {kind: dict(each) for kind, each in clients.items()})


def main() -> None:
    """Run it on two servers of the store that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", help="URL of the store")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=Pace().pause_s, help="seconds between two actions of a client")
    parser.add_argument("--stay", type=float, default=Pace().stay_s, help="seconds between two returns of a client")
    parser.add_argument("--kill-every", type=float, default=KILL_EVERY_S, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(options.store, "--rate-limit", "0", folder=Path(folder)) as one,
        serve(options.store, "--rate-limit", "0", folder=Path(folder)) as two,
    ):
        talking = talk(
            [one, two],
            Path(folder),
            options.seconds,
            pace=Pace(options.pause, options.stay),
            kill_every_s=options.kill_every,
            seed=options.seed,
        )
        print(json.dumps(msgspec.to_builtins(asyncio.run(talking))))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
