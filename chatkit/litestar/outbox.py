"""Outbox: events that `publish` accepted and that are not stored yet. Failures are reported."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from chatkit.core.in_flight import InFlight
from chatkit.core.model import Receipt
from chatkit.errors import ChatkitError, Unavailable
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.current_subscriber import CurrentSubscriber

ErrorHook = Callable[[ChatkitError, str], None]
"""Called in the event loop with the error and the channel of an event that was not published."""

_logger = logging.getLogger(__name__)


class PublishQueue:
    """Passes events to the backend in the order of publishing. Belongs to one event loop."""

    def __init__(self, log: LogChannelsBackend, on_error: ErrorHook | None) -> None:
        self._log = log
        self._on_error = on_error
        self._waiting = InFlight()  # events that are not stored yet

    def submit(self, payload: bytes, channels: Sequence[str], subscriber: CurrentSubscriber | None) -> None:
        """Submit an event to each channel, without waiting. `subscriber` sends its due events after the commit."""
        for channel in channels:
            self._waiting.begin()
            settle = partial(self._on_settled, channel, subscriber)
            try:
                self._log.submit(payload, channel, settle)
            except (ChatkitError, RuntimeError) as error:
                settle(error if isinstance(error, ChatkitError) else Unavailable(str(error)))

    async def wait_empty(self) -> None:
        """Wait until every event was stored or has failed."""
        await self._waiting.wait_idle()

    def _on_settled(self, channel: str, subscriber: CurrentSubscriber | None, outcome: Receipt | ChatkitError) -> None:
        self._waiting.end()
        if subscriber is not None:
            subscriber.send_due()
        if isinstance(outcome, ChatkitError):
            _logger.error("an event of %s was not published: %s", channel, outcome)
            self._report(outcome, channel)

    def _report(self, error: ChatkitError, channel: str) -> None:
        if self._on_error is not None:
            try:
                self._on_error(error, channel)
            except Exception:
                # An error in the application must stop neither publishing nor the delivery of later events.
                _logger.exception("on_error failed")
