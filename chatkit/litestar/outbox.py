"""Outbox: events that were published without waiting, until they are stored. An event that fails is reported."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from chatkit.core.in_flight import InFlight
from chatkit.core.model import Receipt
from chatkit.errors import ChatkitError, Unavailable
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.current_subscriber import CurrentSubscriber

ErrorHook = Callable[[ChatkitError, str], None]
"""Called in the event loop with the reason why an event of this channel was not published."""

_logger = logging.getLogger(__name__)


class PublishQueue:
    """Passes events to the backend in the order in which they come. Belongs to one event loop."""

    def __init__(self, log: LogChannelsBackend, on_error: ErrorHook | None) -> None:
        self._log = log
        self._on_error = on_error
        self._waiting = InFlight()  # events that are not stored yet

    def submit(self, payload: bytes, channels: Sequence[str], speaker: CurrentSubscriber | None) -> None:
        """Have an event stored soon in each channel; the speaker's own reader is woken then."""
        for channel in channels:
            self._waiting.begin()
            settle = partial(self._settled, channel, speaker)
            try:
                self._log.submit(payload, channel, settle)
            except (ChatkitError, RuntimeError) as error:
                settle(error if isinstance(error, ChatkitError) else Unavailable(str(error)))

    async def emptied(self) -> None:
        """Return when every event was stored or refused."""
        await self._waiting.wait_idle()

    def _settled(self, channel: str, speaker: CurrentSubscriber | None, outcome: Receipt | ChatkitError) -> None:
        self._waiting.end()
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
                # The application's mistake must end neither the publisher nor the delivery of later events.
                _logger.exception("on_error failed")
