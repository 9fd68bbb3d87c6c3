"""Publishing a pipe: every line a message, in order, each stored once. Stops at the first that cannot be.

At the end of one that stopped, it says at which line, why, and how many lines are stored.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from chatkit.cli.exit_codes import say
from chatkit.cli.input import InputFailed
from chatkit.cli.options import Target
from chatkit.cli.stdin import read_lines
from chatkit.core.model import Receipt
from chatkit.errors import BadInput, ChatkitError
from chatkit.wire.protocol import WireMessage

MAX_LINE_BYTES = 16 * 2**20  # of memory for one line; what a server takes is far less, and it says how much
PROGRESS_S = 0.2

Show = Callable[[WireMessage], None]


class PublishProgress:
    """How many lines are stored, and the first that is not."""

    def __init__(self) -> None:
        self.read = 0
        self.stored = 0
        self.failed: tuple[int, ChatkitError] | None = None
        self._open: set[asyncio.Future[Receipt]] = set()
        self._shown_at = time.monotonic()
        self._shows = sys.stderr.isatty()

    def add(self, number: int, answer: asyncio.Future[Receipt]) -> None:
        """Count a line that is on its way."""
        self._open.add(answer)
        answer.add_done_callback(partial(self._settle, number))

    def fail(self, number: int, error: ChatkitError) -> None:
        """Remember why a line is not stored; the first of them counts."""
        if self.failed is None or number < self.failed[0]:
            self.failed = (number, error)

    @contextmanager
    def stops_at(self, number: int) -> Iterator[None]:
        """Remember what goes wrong with a line at once."""
        try:
            yield
        except ChatkitError as error:
            self.fail(number, error)

    async def settled(self) -> None:
        """Wait until every line on its way is answered."""
        while self._open:
            await asyncio.wait(self._open)

    def clear(self) -> None:
        """Take the progress off the terminal."""
        if self._shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _settle(self, number: int, answer: asyncio.Future[Receipt]) -> None:
        self._open.discard(answer)
        if answer.cancelled():
            return
        error = answer.exception()
        if isinstance(error, ChatkitError):
            self.fail(number, error)
        elif error is None:
            self.stored += 1
            self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if self._shows and now - self._shown_at >= PROGRESS_S:
            self._shown_at = now
            sys.stderr.write(f"\r{self.stored} lines published\x1b[K")
            sys.stderr.flush()


async def publish_lines(place: Target, room: str, show: Show | None) -> None:
    """Publish standard input. `show` gets each message as it is stored."""
    tally = PublishProgress()
    try:
        await _publish(place, room, tally, show)
    except asyncio.CancelledError:
        tally.clear()
        say(f"stopped: {tally.stored} of the {tally.read} lines read are published")
        raise
    finally:
        tally.clear()
    if tally.failed is not None:
        raise _stopped(tally, *tally.failed)


async def _publish(place: Target, room: str, tally: PublishProgress, show: Show | None) -> None:
    async with place.rooms(make=True) as source:
        async for number, line in _lines(tally):
            with tally.stops_at(number):
                answer = await source.submit(room, line)
                tally.add(number, answer)
                if show is not None:
                    show(WireMessage.of((await answer).message))
        await tally.settled()


async def _lines(tally: PublishProgress) -> AsyncIterator[tuple[int, str]]:
    """Yield the lines until one could not be published."""
    try:
        async for number, line in read_lines(MAX_LINE_BYTES):
            tally.read = number
            yield number, line
            if tally.failed is not None:
                return
    except BadInput as error:
        tally.read += 1
        tally.fail(tally.read, error)
    except InputFailed as error:
        tally.fail(tally.read + 1, error)


def _stopped(tally: PublishProgress, number: int, error: ChatkitError) -> ChatkitError:
    if tally.stored or isinstance(error, BadInput | InputFailed):
        error.args = (
            f"stopped at line {number}: {error} ({tally.stored} of the {tally.read} lines read are published)",
        )
    return error
