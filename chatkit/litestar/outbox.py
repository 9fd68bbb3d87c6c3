"""Outbox: what was published without waiting, until it is stored. Whoever should know hears of what cannot be."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from chatkit.core.model import Receipt
from chatkit.errors import ChatkitError, Unavailable
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.current_subscriber import CurrentSubscriber

ErrorHook = Callable[[ChatkitError, str], None]
"""Hears, in the event loop, why an event of this channel was not published."""

_logger = logging.getLogger(__name__)


class PublishQueue:
    """Hands events to the backend, in the order in which they come; belongs to one event loop."""

    def __init__(self, log: LogChannelsBackend, on_error: ErrorHook | None) -> None:
        self._log = log
        self._on_error = on_error
        self._n_waiting = 0
        self._idle = asyncio.Event()  # set while nothing waits to be stored
        self._idle.set()

    def submit(self, payload: bytes, channels: Sequence[str], speaker: CurrentSubscriber | None) -> None:
        """Have an event stored soon in each channel. Who speaks hears it then."""
        for channel in channels:
            self._n_waiting += 1
            self._idle.clear()
            settle = partial(self._settled, channel, speaker)
            try:
                self._log.submit(payload, channel, settle)
            except (ChatkitError, RuntimeError) as error:
                settle(error if isinstance(error, ChatkitError) else Unavailable(str(error)))

    async def emptied(self) -> None:
        """Return when nothing waits."""
        await self._idle.wait()

    def _settled(self, channel: str, speaker: CurrentSubscriber | None, outcome: Receipt | ChatkitError) -> None:
        self._n_waiting -= 1
        if not self._n_waiting:
            self._idle.set()
        if speaker is not None:
            speaker.hear()
        if isinstance(outcome, ChatkitError):
            _logger.error("an event of %s was not published: %s", channel, outcome)
            self._tell(outcome, channel)

    def _tell(self, error: ChatkitError, channel: str) -> None:
        if self._on_error is not None:
            try:
                self._on_error(error, channel)
            except Exception:
                # Its mistake must end neither who publishes nor what carries all later events.
                _logger.exception("on_error failed")
