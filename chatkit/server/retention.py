"""Retention: removes old messages once a minute, by the settings of the server and of each room.

The number of messages to keep is not for the server's own rooms, such as the audit: everybody who changes a token of
their own, or tries a wrong one, adds entries to it, and could remove the entries of others in this way.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from chatkit.core.access import is_system_room
from chatkit.core.hub import Hub
from chatkit.core.model import format_time
from chatkit.core.retention import RetentionClock
from chatkit.errors import ChatkitError
from chatkit.server.consumer_retention import ConsumerRetention
from chatkit.server.retention_rule import RetentionRule

INTERVAL_S: Final = 60.0

_logger = logging.getLogger(__name__)


class Retention:
    """Removes the messages that no rule keeps. `clocks` returns Unix milliseconds, and seconds of a steady clock."""

    def __init__(self, hub: Hub, rule: RetentionRule, clocks: Callable[[], tuple[int, float]] | None = None) -> None:
        self._hub = hub
        self._rule = rule
        self._consumers = ConsumerRetention(hub)
        self._clocks = clocks or _clocks
        self._clock: RetentionClock | None = None

    async def run(self) -> None:
        """Remove old messages once a minute, until cancelled."""
        while True:
            try:
                await self.trim()
            except ChatkitError:
                _logger.info("old messages were not removed, because the store is not available; retrying later")
            except Exception:  # retention has to go on after a failure, or the store fills up
                _logger.exception("old messages were not removed; retrying later")
            await asyncio.sleep(INTERVAL_S)

    async def trim(self) -> None:
        """Remove the messages that are old now, and report the consumers that this concerns. Raise `Unavailable`."""
        settings = self._hub.access.settings_of_rooms()
        own = {room: self._rule.of_room(settings[room]) for room in settings}
        own = {room: rule for room, rule in own.items() if rule != self._rule}
        if not own and not self._rule.has_limit:
            return
        now_ms = await self._now_ms()
        await self._trim(own, now_ms)
        await self._consumers.check(lambda room: own.get(room, self._rule.in_room(room)), now_ms)

    async def _trim(self, own: dict[str, RetentionRule], now_ms: int) -> None:
        if any(rule.keeps_more_than(self._rule) for rule in own.values()):  # the server's rule is not for all rooms
            for info in await self._hub.rooms():
                await self._apply(info.room, own.get(info.room, self._rule.in_room(info.room)), now_ms)
            return
        if self._rule.keep_for_s is not None:
            await self._apply(None, RetentionRule(None, self._rule.keep_for_s), now_ms)
        if self._rule.keep is not None:
            await self._trim_long_rooms(self._rule.keep, now_ms)
        for room, rule in own.items():
            await self._apply(room, rule, now_ms)

    async def _trim_long_rooms(self, keep: int, now_ms: int) -> None:
        for info in await self._hub.rooms():
            if not is_system_room(info.room) and info.head.last - info.head.first >= keep:
                await self._apply(info.room, RetentionRule(keep, None), now_ms)

    async def _apply(self, room: str | None, rule: RetentionRule, now_ms: int) -> None:
        before_ms = None if rule.keep_for_s is None else now_ms - round(rule.keep_for_s * 1000)
        await self._hub.trim(room, keep=rule.keep, before_ms=before_ms)

    async def _now_ms(self) -> int:
        """Return the time by which the age of messages is measured."""
        wall_ms, steady_s = self._clocks()
        if self._clock is None:
            times_ms = [info.time_ms for info in await self._hub.rooms() if info.time_ms <= wall_ms]  # others are wrong
            self._clock = RetentionClock(max(times_ms, default=None), wall_ms, steady_s)
        was_ahead = self._clock.is_ahead
        now_ms = self._clock.read(wall_ms, steady_s)
        if self._clock.is_ahead and not was_ahead:
            _logger.warning(
                "this machine's clock has jumped ahead of %s: until it has kept the new time for an hour, messages are"
                " removed by the old time; check the clock",
                format_time(now_ms),
            )
        return now_ms


def _clocks() -> tuple[int, float]:
    return time.time_ns() // 1_000_000, time.monotonic()
