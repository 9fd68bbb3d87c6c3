"""SyncConsumption: the loop over the messages of a consumer, for programs without an event loop."""

from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from chatkit.client.consumption import Consumption
from chatkit.client.loop_thread import LoopThread
from chatkit.client.signals import Item
from chatkit.errors import Unavailable


class SyncConsumption:
    """Iterates over the messages of a consumer; made by `SyncClient.consume`. It is iterated once."""

    def __init__(self, consumption: Consumption, loop: LoopThread) -> None:
        self._consumption = consumption
        self._loop = loop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(exc)

    def __iter__(self) -> Iterator[Item]:
        return self._loop.iterate(aiter(self._consumption))

    def ack(self) -> None:
        """Acknowledge the current message now, and not only when the next one is asked for."""
        self._loop.wait(self._loop.submit(self._consumption.ack))

    def retry(self, reason: str = "", *, delay_s: float | None = None) -> None:
        """Report that the current message has failed: it comes again, and the loop goes on.

        Args:
            reason: Why, for the report in `ROOM.failed`: at most 500 characters are kept.
            delay_s: When it comes again, in seconds: at most a week. By default, this grows with its failures.

        """
        self._loop.wait(self._loop.submit(self._consumption.retry, reason, delay_s=delay_s))

    def close(self, error: BaseException | None = None) -> None:
        """Acknowledge what is done, and give back the rest. `error` is what ended the loop."""
        with suppress(Unavailable):  # the client was closed, which closed this
            self._loop.wait(self._loop.submit(self._consumption.close, error))
