"""Webhooks: those of a store are made, removed and resumed, each with an entry in the audit; and their failures.

As with `Administration`, each method checks the grants of `by`, and the caller whether `by` is banned or was revoked.
Nothing here sends a request: `chatkit.webhooks` does. A webhook belongs to its rooms, not to the person who made it,
so it goes on when the token of that person ends.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from chatkit.core.access import Identity, require
from chatkit.core.access_records import decode
from chatkit.core.access_store import AccessStore
from chatkit.core.audit import SERVER_NAME, Audit, AuditEvent
from chatkit.core.backend import Backend
from chatkit.core.consumers import MAX_RETRIES, Consumers, Start
from chatkit.core.measures import WebhookMeasures
from chatkit.core.model import check_sender, format_time
from chatkit.core.records import Record, RecordChanges
from chatkit.core.signals import MembersChanged
from chatkit.core.token import new_token_id
from chatkit.core.webhook import (
    Webhook,
    WebhookEvent,
    WebhookFailures,
    WebhookStatus,
    check_events,
    check_rooms,
    check_url,
    may_manage,
    new_secret,
    rights_needed,
)
from chatkit.errors import BadRequest, ChatkitError, NotFound

WEBHOOK: Final = "webhook"  # the kind, by id
FAILURES: Final = "webhook_failures"  # the kind, by the webhook's id: exists while its requests fail
MAX_WEBHOOKS: Final = 100  # of a store: each has a request of its own under way
MAX_MATCHED: Final = 1_000  # rooms of one webhook: the server waits for the messages of each

_logger = logging.getLogger(__name__)


class WebhookTable:
    """One process's view of the webhooks of its store, and what it has counted.

    `on_change` is called after each change, `on_members` with who joined and left a room. Both must neither wait nor
    raise. `n_delivered` and `n_failed` count the requests of this process.
    """

    def __init__(self) -> None:
        self.webhooks: dict[str, Webhook] = {}
        self.failures: dict[str, WebhookFailures] = {}
        self.on_change: Callable[[], None] | None = None
        self.on_members: Callable[[MembersChanged], None] | None = None
        self.n_delivered = 0
        self.n_failed = 0

    def apply(self, changes: RecordChanges) -> None:
        """Update the table by changed records, of any kind."""
        if changes.whole:
            self.webhooks.clear()
            self.failures.clear()
        changed = [record for record in changes.records if record.kind in {WEBHOOK, FAILURES}]
        for record in changed:
            self._apply(record)
        if (changed or changes.whole) and self.on_change is not None:
            self.on_change()

    def _apply(self, record: Record) -> None:
        self.webhooks.pop(record.key, None) if record.kind == WEBHOOK else self.failures.pop(record.key, None)
        try:
            if record.kind == WEBHOOK and (webhook := decode(record, Webhook)) is not None:
                self.webhooks[record.key] = webhook
            elif record.kind == FAILURES and (failures := decode(record, WebhookFailures)) is not None:
                self.failures[record.key] = failures
        except ChatkitError as error:  # it was written by hand, or by a later version
            _logger.warning("a webhook is left out: %s", error)

    def notify_members(self, change: MembersChanged) -> None:
        """Pass on who joined and left a room."""
        if self.on_members is not None:
            self.on_members(change)

    @property
    def parked(self) -> list[str]:
        """The ids of the webhooks that somebody has to resume."""
        return [key for key in self.webhooks if key in self.failures and self.failures[key].parked_ms is not None]

    def measure(self) -> WebhookMeasures:
        """Return what this process knows and has counted."""
        return WebhookMeasures(len(self.webhooks), len(self.parked), self.n_delivered, self.n_failed)


class Webhooks:
    """Changes the webhooks in the store of a backend. `now_ms` is the clock, as Unix milliseconds."""

    def __init__(
        self, backend: Backend, store: Backend, consumers: Consumers, now_ms: Callable[[], int], audit: Audit
    ) -> None:
        self.table = WebhookTable()
        self._backend = backend
        self._store = AccessStore(store)
        self._consumers = consumers
        self._now_ms = now_ms
        self._audit = audit

    # By persons

    async def add(
        self,
        by: Identity,
        url: str,
        rooms: Sequence[str],
        events: Sequence[WebhookEvent] = (WebhookEvent.MESSAGE,),
        *,
        mention: str | None = None,
    ) -> Webhook:
        """Make a webhook, and return it with its new secret. It is sent what happens from now on.

        Needs the rights that `rights_needed` returns. Raise `BadRequest` for invalid values, for too many webhooks, for
        a pattern that matches too many rooms, and for messages of a store that keeps no history.
        """
        webhook = Webhook(
            new_token_id(),
            check_url(url),
            check_rooms(rooms),
            check_events(events, mention),
            new_secret(),
            by.name,
            self._now_ms(),
            None if mention is None else check_sender(mention),
        )
        for right, room in rights_needed(webhook.rooms):
            require(by, right, room)
        if await self._store.count(WEBHOOK) >= MAX_WEBHOOKS:
            raise BadRequest(f"a store holds at most {MAX_WEBHOOKS} webhooks: 'chatkit webhook remove' frees places")
        if webhook.sends_log:
            await self._keep_positions(webhook)
        await self._store.update(WEBHOOK, webhook.id, Webhook, lambda _: webhook)
        await self._record(AuditEvent.WEBHOOK_ADDED, by, "made", webhook)
        return webhook

    async def _keep_positions(self, webhook: Webhook) -> None:
        """Make a consumer at the end of each room that the webhook matches, before the webhook exists."""
        has_pattern = webhook.named_rooms != list(webhook.rooms)
        there = [info.room for info in await self._backend.rooms()] if has_pattern else []
        rooms = list(dict.fromkeys([*webhook.named_rooms, *webhook.matching(there)]))
        if len(rooms) > MAX_MATCHED:
            raise BadRequest(f"these patterns match {len(rooms)} rooms, and a webhook is for at most {MAX_MATCHED}")
        for room in rooms:
            await self._put_consumer(webhook, room, "end")

    async def ensure_consumer(self, webhook: Webhook, room: str) -> None:
        """Make the consumer of a webhook in a room if it is missing.

        It starts at the end of a log that is older than the webhook, and else at its beginning.
        """
        oldest = await self._backend.read(room, after=0, limit=1)
        is_older = any(message.time_ms < webhook.created_ms for message in oldest.messages)
        await self._put_consumer(webhook, room, "end" if is_older else "start")

    async def _put_consumer(self, webhook: Webhook, room: str, after: Start) -> None:
        await self._consumers.put(
            room,
            webhook.consumer,
            owner=SERVER_NAME,
            after=after,
            only_if_missing=True,
            retries=MAX_RETRIES,  # the failures of a webhook are those of its receiver: no message is given up for them
            ordered=True,
        )

    async def statuses(self, by: Identity) -> list[WebhookStatus]:
        """Return the webhooks that `by` may manage, the oldest first."""
        webhooks = await self._store.all(WEBHOOK, Webhook, lambda webhook: may_manage(by, webhook))
        found = [
            WebhookStatus(webhook, await self._store.get(FAILURES, webhook.id, WebhookFailures)) for webhook in webhooks
        ]
        return sorted(found, key=lambda status: (status.webhook.created_ms, status.webhook.id))

    async def status(self, by: Identity, webhook_id: str) -> WebhookStatus:
        """Return one webhook. Raise `NotFound` if it does not exist, or `by` may not manage it."""
        webhook = await self._store.get(WEBHOOK, webhook_id, Webhook) if webhook_id else None
        if webhook is None or not may_manage(by, webhook):
            raise no_such_webhook(webhook_id)
        return WebhookStatus(webhook, await self._store.get(FAILURES, webhook_id, WebhookFailures))

    async def remove(self, by: Identity, webhook_id: str) -> WebhookStatus:
        """Remove a webhook with its consumers. Raise `NotFound` as `status` does."""
        status = await self.status(by, webhook_id)
        await self._store.update(WEBHOOK, webhook_id, Webhook, lambda _: None)
        await self._store.update(FAILURES, webhook_id, WebhookFailures, lambda _: None)
        await self._record(AuditEvent.WEBHOOK_REMOVED, by, "removed", status.webhook)
        for consumer in await self._consumers.statuses():
            if consumer.name == status.webhook.consumer:
                await self._consumers.consumer(consumer.room, consumer.name).delete()
        return status

    async def resume(self, by: Identity, webhook_id: str) -> WebhookStatus:
        """Forget the failures of a webhook: it is tried again at once. Raise `NotFound` as `status` does."""
        status = await self.status(by, webhook_id)
        if status.failures is not None:
            await self.forget_failures(webhook_id)
            await self._record(AuditEvent.WEBHOOK_RESUMED, by, "resumed", status.webhook)
        return WebhookStatus(status.webhook)

    # By the server that delivers

    async def record_failure(
        self, webhook: Webhook, reason: str, next_s: Callable[[WebhookFailures | None, int], float | None]
    ) -> WebhookFailures:
        """Record that a request failed. `next_s` returns the seconds until the next, or None to park the webhook.

        It is called with the failures before this one, and the time as Unix milliseconds. Only the server that delivers
        calls this.
        """
        now_ms = self._now_ms()
        failures = WebhookFailures(now_ms, 0, now_ms, reason)

        def failed(before: WebhookFailures | None) -> WebhookFailures:
            nonlocal failures
            wait_s = next_s(before, now_ms)
            failures = WebhookFailures(
                now_ms if before is None else before.failing_since_ms,
                1 if before is None else before.n_failed + 1,
                now_ms if wait_s is None else now_ms + round(wait_s * 1000),
                reason,
                now_ms if wait_s is None else None,
            )
            return failures

        await self._store.update(FAILURES, webhook.id, WebhookFailures, failed)
        if failures.parked_ms is not None:
            await self._report_parked(webhook, failures)
        return failures

    async def _report_parked(self, webhook: Webhook, failures: WebhookFailures) -> None:
        sentence = f"after {failures.n_failed} failures since {format_time(failures.failing_since_ms)}"
        _logger.error(
            "the webhook %s of %s is parked %s (%s): 'chatkit webhook resume %s' tries again",
            webhook.id, ", ".join(webhook.rooms), sentence, failures.reason, webhook.id,
        )  # fmt: skip
        verb = f"{sentence} ({failures.reason}), parked"
        await self._record(AuditEvent.WEBHOOK_PARKED, Identity(SERVER_NAME), verb, webhook)

    async def forget_failures(self, webhook_id: str) -> None:
        """Record that a request succeeded, or that somebody resumed the webhook."""
        await self._store.update(FAILURES, webhook_id, WebhookFailures, lambda _: None)

    async def _record(self, event: AuditEvent, by: Identity, verb: str, webhook: Webhook) -> None:
        details = {"rooms": list(webhook.rooms), "events": list(map(str, webhook.events)), "host": webhook.host}
        sentence = f"{verb} the webhook of {', '.join(webhook.rooms)} to {webhook.host}"
        await self._audit.append(event, by, sentence, webhook.id, details)


def no_such_webhook(webhook_id: str) -> NotFound:
    """Make the error for a webhook that does not exist, or that the client may not see."""
    return NotFound(f"there is no webhook {webhook_id[:80]!r}")
