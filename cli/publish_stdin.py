"""Publishing standard input: each line is a message, stored once and in order, up to the first that cannot be stored.

The error then names that line, the reason, and the number of lines that are stored.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from chatkit.cli.input import InputFailed
from chatkit.cli.input_lines import read_lines
from chatkit.cli.output import print_notice
from chatkit.cli.target import Target
from chatkit.core.model import Receipt
from chatkit.errors import BadInput, ChatkitError
from chatkit.wire.protocol import WireMessage

MAX_LINE_BYTES = 16 * 2**20  # bounds the memory for one line; the limit of a server is far lower
PROGRESS_S = 0.2  # often enough to look continuous

Show = Callable[[WireMessage], None]


class PublishProgress:
    """The number of lines read and stored, and the first line that could not be stored."""

    def __init__(self) -> None:
        self.n_read = 0
        self.n_stored = 0
        self.failed: tuple[int, ChatkitError] | None = None
        self._pending: set[asyncio.Future[Receipt]] = set()
        self._shown_at = time.monotonic()
        self._shows = sys.stderr.isatty()

    def add(self, number: int, answer: asyncio.Future[Receipt]) -> None:
        """Register a line that was submitted."""
        self._pending.add(answer)
        answer.add_done_callback(partial(self._settle, number))

    def fail(self, number: int, error: ChatkitError) -> None:
        """Record why a line is not stored. The first such line is kept."""
        if self.failed is None or number < self.failed[0]:
            self.failed = (number, error)

    @contextmanager
    def catch_error(self, number: int) -> Iterator[None]:
        """Record an error that is raised in the block as the error of a line."""
        try:
            yield
        except ChatkitError as error:
            self.fail(number, error)

    async def wait_until_settled(self) -> None:
        """Wait until every submitted line is stored or rejected."""
        while self._pending:
            await asyncio.wait(self._pending)

    def clear(self) -> None:
        """Clear the progress line on the terminal."""
        if self._shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _settle(self, number: int, answer: asyncio.Future[Receipt]) -> None:
        self._pending.discard(answer)
        if answer.cancelled():
            return
        error = answer.exception()
        if isinstance(error, ChatkitError):
            self.fail(number, error)
        elif error is None:
            self.n_stored += 1
            self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if self._shows and now - self._shown_at >= PROGRESS_S:
            self._shown_at = now
            sys.stderr.write(f"\r{self.n_stored} lines published\x1b[K")
            sys.stderr.flush()


async def publish_lines(target: Target, room: str, show: Show | None) -> None:
    """Publish standard input. Call `show` with each message after it is stored. Raise `ChatkitError`."""
    progress = PublishProgress()
    try:
        await _publish(target, room, progress, show)
    except asyncio.CancelledError:
        progress.clear()
        print_notice(f"stopped: {progress.n_stored} of the {progress.n_read} lines read are published")
        raise
    finally:
        progress.clear()
    if progress.failed is not None:
        raise _describe(progress, *progress.failed)


async def _publish(target: Target, room: str, progress: PublishProgress, show: Show | None) -> None:
    async with target.open(make=True) as client:
        async for number, line in _lines(progress):
            with progress.catch_error(number):
                answer = await client.submit(room, line)
                progress.add(number, answer)
                if show is not None:
                    show(WireMessage.of_message((await answer).message))
        await progress.wait_until_settled()
        progress.clear()
        target.report_name(client.name)


async def _lines(progress: PublishProgress) -> AsyncIterator[tuple[int, str]]:
    """Iterate over the numbered lines until one could not be published."""
    try:
        async for number, line in read_lines(MAX_LINE_BYTES):
            progress.n_read = number
            yield number, line
            if progress.failed is not None:
                return
    except BadInput as error:
        progress.n_read += 1
        progress.fail(progress.n_read, error)
    except InputFailed as error:
        progress.fail(progress.n_read + 1, error)


def _describe(progress: PublishProgress, number: int, error: ChatkitError) -> ChatkitError:
    if progress.n_stored or isinstance(error, BadInput | InputFailed):
        published = f"{progress.n_stored} of the {progress.n_read} lines read are published"
        error.args = (f"stopped at line {number}: {error} ({published})",)
    return error
