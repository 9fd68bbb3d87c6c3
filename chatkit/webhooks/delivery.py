"""WebhookDelivery: sends one webhook what happens in its rooms, while this server holds the claim.

The messages of a room come from an ordered consumer, so each is sent at least once and after the one before it. A
webhook has one request under way at a time, and one that fails holds back the others: they have the same receiver. Who
joins or leaves is sent at most once, from a short queue in memory.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from chatkit.backoff import Backoff
from chatkit.core.consumer import Consumer, Taken
from chatkit.core.hub import Hub
from chatkit.core.signals import MembersChanged
from chatkit.core.webhook import Webhook, WebhookEvent
from chatkit.core.webhooks import MAX_MATCHED
from chatkit.errors import ChatkitError, NotFound, Unavailable
from chatkit.webhooks.exchange import REQUEST_S, Exchange, Sends
from chatkit.webhooks.room_names import LOOK_S, RoomNames
from chatkit.webhooks.schedule import due_in_s, next_delay_s, read_retry_after
from chatkit.wire.webhooks import gap_body, message_body, presence_body

BATCH: Final = 20  # messages that are taken at once: so many come again after a server was killed
LEASE_S: Final = REQUEST_S + 2.0  # after which another server sends what a killed one had taken
WAIT_S: Final = 30.0  # for a message, between two looks at a consumer
GRACE_S: Final = 2.0  # for the answer to a request, when the delivery ends
SETTLE_S: Final = 2.0  # for the positions, when the delivery ends
MAX_WAITING: Final = 100  # of those who joined or left: older ones are dropped
RETRY_MIN_S, RETRY_MAX_S = 0.5, 10.0  # between two attempts to read a store that does not answer

_logger = logging.getLogger(__name__)


class WebhookDelivery:
    """The delivery to one webhook. `may_send` returns whether this server still holds the claim."""

    def __init__(
        self, hub: Hub, webhook: Webhook, sender: Sends, names: RoomNames, may_send: Callable[[], bool]
    ) -> None:
        self.webhook = webhook
        self._hub = hub
        self._sender = sender
        self._may_send = may_send
        self._sending = asyncio.Lock()  # held by who sends a request, or waits to repeat one
        self._changed = asyncio.Event()  # set when somebody has resumed the webhook
        self._ending = asyncio.Event()  # once it is set, no request is sent any more
        self._names = names
        self._seen: Sequence[str] = ()  # the names that `_matching` was found in
        self._matching: list[str] = []
        self._rooms: dict[str, asyncio.Task[None]] = {}
        self._members: deque[tuple[WebhookEvent, str, str, int]] = deque(maxlen=MAX_WAITING)
        self._has_members = asyncio.Event()  # set while there are some

    def on_change(self) -> None:
        """Look at the failures again: somebody may have resumed the webhook."""
        self._changed.set()

    def on_members(self, change: MembersChanged) -> None:
        """Queue who joined or left a room."""
        if not self.webhook.sends_members or not self.webhook.matching([change.room]):
            return
        for event, names in ((WebhookEvent.LEAVE, change.left), (WebhookEvent.JOIN, change.joined)):
            if event in self.webhook.events:
                self._members.extend((event, change.room, name, change.count) for name in names)
        if self._members:
            self._has_members.set()

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self.webhook.sends_members:
                tasks.create_task(self._send_members())
            while self.webhook.sends_log:
                with suppress(ChatkitError):  # of a store that does not answer: the next look may succeed
                    await self._look_for_rooms(tasks)
                await asyncio.sleep(LOOK_S)

    async def _look_for_rooms(self, tasks: asyncio.TaskGroup) -> None:
        """Start to deliver the messages of rooms that were made or renamed."""
        names = await self._names.read() if self.webhook.named_rooms != list(self.webhook.rooms) else ()
        if names is not self._seen:
            self._seen, self._matching = names, self.webhook.matching(names)
        current = {self._current_name(room) for room in (*self.webhook.named_rooms, *self._matching)}
        for room in [room for room, task in self._rooms.items() if task.done()]:
            del self._rooms[room]
        new = [room for room in current if room is not None and room not in self._rooms]
        if len(self._rooms) + len(new) > MAX_MATCHED:
            new = new[: MAX_MATCHED - len(self._rooms)]
            _logger.warning("the webhook %s gets no messages of rooms beyond %s", self.webhook.id, MAX_MATCHED)
        for room in new:
            if not await self._has_to_move(room):
                await self._hub.webhooks.ensure_consumer(self.webhook, room)
                self._rooms[room] = tasks.create_task(self._deliver_room(room))

    async def _has_to_move(self, room: str) -> bool:
        """Return whether the consumer of a renamed room is still at the old name: who renames the room moves it."""
        settings = self._hub.access.settings_of_rooms()
        for old in [old for old, each in settings.items() if each.renamed_to == room]:
            with suppress(NotFound):
                await self._hub.consumers.consumer(old, self.webhook.consumer).status()
                return True
        return False

    def _current_name(self, room: str) -> str | None:
        """Return the present name of a room; None while it is being renamed."""
        seen = {room}
        while (settings := self._hub.access.room_settings(room)).renamed_to is not None:
            if settings.is_moving or settings.renamed_to in seen:
                return None
            room = settings.renamed_to
            seen.add(room)
        return room

    # Messages

    async def _deliver_room(self, room: str) -> None:
        """Send the messages of a room, until its consumer is gone: the room was renamed, or somebody deleted it."""
        consumer = self._hub.consumers.consumer(room, self.webhook.consumer)
        backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while not self._ending.is_set():
            try:
                await self._deliver_next(consumer)
                backoff.reset()
            except NotFound:
                return
            except ChatkitError as error:
                if self._ending.is_set():
                    return
                _logger.info("the webhook %s waits: %s", self.webhook.id, error)
                await asyncio.sleep(backoff.next_s())

    async def _deliver_next(self, consumer: Consumer) -> None:
        """Wait for messages and send them."""
        taken = await consumer.receive(limit=BATCH, lease_s=LEASE_S, wait_s=WAIT_S)
        if taken.lease is None:
            return
        if not self._sending.locked() and self._wait_s() <= 0:
            async with self._sending:
                await self._send_taken(consumer, taken)
            return
        await consumer.release(taken.lease)  # it would run out before it is this one's turn
        async with self._sending:
            await self._wait_until_due()
            await self._send_taken(consumer, await consumer.receive(limit=BATCH, lease_s=LEASE_S))

    async def _send_taken(self, consumer: Consumer, taken: Taken) -> None:
        """Send what was taken, in order, up to the first failure; settle what was sent, and give the rest back."""
        if taken.lease is None:
            return
        sent: list[int] = []
        has_gap = taken.gap is not None
        try:
            if taken.gap is not None:
                body = partial(gap_body, consumer.room, taken.gap, self._hub.now_ms())
                has_gap = not await self._attempt(self.webhook.gap_id(consumer.room, taken.gap), body)
            if not has_gap:
                await self._send_messages(taken, sent)
        finally:  # also if this is cancelled: another server goes on then
            await self._settle(consumer, taken, sent, has_gap=has_gap)

    async def _settle(self, consumer: Consumer, taken: Taken, sent: list[int], *, has_gap: bool) -> None:
        """Settle what was sent, and give the rest back; with `has_gap`, all of it. If that fails, it is sent again."""
        lease = taken.lease or ""
        try:
            async with asyncio.timeout(SETTLE_S):
                if not has_gap:
                    await consumer.ack(lease, sent)
                if has_gap or len(sent) < len(taken.messages):
                    await consumer.release(lease)
        except (ChatkitError, TimeoutError) as error:
            _logger.info("the position of the webhook %s in %s was not kept: %s", self.webhook.id, consumer.room, error)

    async def _send_messages(self, taken: Taken, sent: list[int]) -> None:
        """Send messages up to the first failure, and add the number of each that is settled to `sent`."""
        clock = asyncio.get_running_loop().time
        last_start = clock() + LEASE_S - REQUEST_S
        for message in taken.messages:
            event = self.webhook.event_of(message)
            if event is not None:
                if clock() > last_start:  # the lease could run out during the request
                    return
                if not await self._attempt(self.webhook.message_id(message), partial(message_body, event, message)):
                    return
            sent.append(message.seq)

    # Who joins and leaves

    async def _send_members(self) -> None:
        while not self._ending.is_set():
            await self._has_members.wait()
            async with self._sending:
                await self._wait_until_due()
                while self._members:
                    event, room, name, count = self._members.popleft()
                    body = partial(presence_body, event, room, name, count, self._hub.now_ms())
                    with suppress(ChatkitError):
                        if not await self._attempt(f"msg_{secrets.token_hex(16)}", body):
                            break
                if not self._members:
                    self._has_members.clear()

    # Requests

    async def _attempt(self, event_id: str, body: Callable[[], bytes]) -> bool:
        """Send a request; return whether it was accepted, after its outcome was recorded."""
        if self._ending.is_set() or not self._may_send():
            raise Unavailable("another server delivers to webhooks now")
        exchange = await self._send(event_id, body())
        table = self._hub.webhooks.table
        if exchange.is_delivered:
            table.n_delivered += 1
            if self.webhook.id in table.failures:
                await self._hub.webhooks.forget_failures(self.webhook.id)
            return True
        table.n_failed += 1
        await self._record_failure(exchange)
        return False

    async def _send(self, event_id: str, body: bytes) -> Exchange:
        """Send a request. If the delivery ends, wait a moment for the answer: otherwise it would be sent again."""
        sending = asyncio.ensure_future(self._sender.send(self.webhook, event_id, body))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            self._ending.set()
            with suppress(TimeoutError):
                return await asyncio.wait_for(sending, GRACE_S)
            raise

    async def _record_failure(self, exchange: Exchange) -> None:
        answer = exchange.answer
        retry_after = None if answer is None else read_retry_after(answer.header("retry-after"), self._hub.now_ms())
        delay_s = partial(next_delay_s, retry_after_s=retry_after, is_gone=exchange.is_gone)
        delivery = await self._hub.webhooks.record_failure(self.webhook, exchange.reason, delay_s)
        log = _logger.warning if delivery.n_failed == 1 else _logger.info
        log("the webhook %s of %s failed: %s", self.webhook.id, ", ".join(self.webhook.rooms), exchange.reason)

    def _wait_s(self) -> float:
        """Return how long to wait before the next request, in seconds."""
        delivery = self._hub.webhooks.table.failures.get(self.webhook.id)
        if delivery is None:
            return 0
        return RETRY_MAX_S if delivery.parked_ms is not None else due_in_s(delivery, self._hub.now_ms())

    async def _wait_until_due(self) -> None:
        while (wait_s := self._wait_s()) > 0:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
