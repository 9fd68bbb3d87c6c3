"""Reports consumers that retention is about to pass, and those that it has passed, which miss messages.

A report is a warning in the log and an entry of the audit. The entry has a key, so of several servers on one store only
one adds it.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import Final

from chatkit.core.audit import AUDIT_ROOM, SERVER_NAME, AuditEvent
from chatkit.core.consumer import ConsumerStatus
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.server.retention_rule import RetentionRule

NEAR: Final = 0.8  # of the messages that are kept, or of their age: a consumer so far behind is reported
MAX_AGES: Final = 1_000  # consumers whose oldest message is read, in one check: the others are looked at later

_logger = logging.getLogger(__name__)


class ConsumerRetention:
    """Compares the consumers of a store with the rules of their rooms, before and after messages are removed."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._reported: dict[tuple[str, str], AuditEvent] = {}  # so that a report is not repeated each minute

    async def check(self, rule_of: Callable[[str], RetentionRule], now_ms: int) -> None:
        """Report the consumers that are newly behind or miss messages. Raise `Unavailable`."""
        found: dict[tuple[str, str], AuditEvent] = {}
        n_ages = 0
        for status in await self._hub.consumers.statuses():
            rule = rule_of(status.room)
            if not status.lag and not status.missed:
                continue
            n_ages += rule.keep_for_s is not None
            event = await self._event(status, rule, now_ms, may_read=n_ages <= MAX_AGES)
            if event is not None:
                key = (status.room, status.name)
                found[key] = event
                if self._reported.get(key) is not event:
                    await self._report(event, status)
        self._reported = found

    async def _event(
        self, status: ConsumerStatus, rule: RetentionRule, now_ms: int, *, may_read: bool
    ) -> AuditEvent | None:
        if status.missed:
            return AuditEvent.CONSUMER_MISSED
        if rule.keep is not None and status.lag > NEAR * rule.keep:
            return AuditEvent.CONSUMER_BEHIND
        if rule.keep_for_s is not None and may_read:
            page = await self._hub.history(status.room, after=status.cursor, limit=1)
            if page.messages and now_ms - page.messages[0].time_ms > NEAR * rule.keep_for_s * 1000:
                return AuditEvent.CONSUMER_BEHIND
        return None

    async def _report(self, event: AuditEvent, status: ConsumerStatus) -> None:
        where = f"the consumer {status.name} of {status.room}"
        if event is AuditEvent.CONSUMER_MISSED:
            sentence = f"{where} misses {status.missed} messages, which were removed before it took them"
        else:
            sentence = f"{where} is {status.lag} messages behind, and the oldest of them will be removed soon"
        _logger.warning("%s", sentence)
        digest = hashlib.sha256(f"{event}:{status.room}/{status.name}:{status.cursor}".encode()).hexdigest()[:32]
        data: dict[str, object] = {"event": event.value, "by": SERVER_NAME, "target": f"{status.room}/{status.name}"}
        draft = Draft(AUDIT_ROOM, SERVER_NAME, sentence, data | {"lag": status.lag}, digest, verified=True, bot=True)
        await self._hub.audit.keep(draft)
