"""Deliverer: on one server of a store, delivers to all webhooks. Every server process has one, and most of them wait.

Without webhooks, nothing happens here. With some, the servers agree by a `Claim` on the one that delivers.
"""

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from chatkit.core.hub import Hub
from chatkit.core.signals import MembersChanged
from chatkit.core.webhook import Webhook
from chatkit.errors import ChatkitError
from chatkit.webhooks.address import AddressPolicy
from chatkit.webhooks.claim import RENEW_S, Claim
from chatkit.webhooks.delivery import WebhookDelivery
from chatkit.webhooks.exchange import Exchange, Sends, send_test
from chatkit.webhooks.room_names import RoomNames

MAX_TRIALS: Final = 4  # tests of webhooks at once

_logger = logging.getLogger(__name__)


class Deliverer:
    """Delivers to the webhooks of a hub's store in a block of `async with`.

    It makes what is not given of `claim` and `sender`.
    """

    def __init__(
        self, hub: Hub, policy: AddressPolicy, *, claim: Claim | None = None, sender: Sends | None = None
    ) -> None:
        self.policy = policy
        self._hub = hub
        self._table = hub.webhooks.table
        self._claim = claim or Claim(hub.records)
        self._opened = sender
        self._names = RoomNames(hub)
        self._changed = asyncio.Event()  # set when the webhooks or their failures changed
        self._deliveries: dict[Webhook, tuple[WebhookDelivery, asyncio.Task[None]]] = {}
        self._trials = asyncio.Semaphore(MAX_TRIALS)

    async def send_test(self, webhook: Webhook, by: str) -> Exchange:
        """Send a webhook a test in the name of a person, once, and return the request and its answer."""
        async with self._trials:
            return await send_test(await self._sender(), webhook, by, self._hub.now_ms())

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, keep the positions, and give the claim back. The hub must still be open."""
        self._running.cancel()
        await asyncio.wait([self._running])

    async def _run(self) -> None:
        self._table.on_change, self._table.on_members = self._on_change, self._on_members
        try:
            while True:
                self._changed.clear()
                if self._table.webhooks:
                    try:
                        await self._step()
                    except Exception:  # one error must not end the delivery to all webhooks
                        _logger.exception("the delivery to webhooks was not looked after; trying again")
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RENEW_S):
                            await self._changed.wait()
                else:
                    await self._stop(list(self._deliveries))
                    await self._claim.release()
                    await self._changed.wait()
        finally:
            self._table.on_change = self._table.on_members = None
            await self._stop(list(self._deliveries))
            await self._claim.release()
            if self._opened is not None:
                await self._opened.close()

    def _on_change(self) -> None:
        self._changed.set()
        for delivery, _ in self._deliveries.values():
            delivery.on_change()

    def _on_members(self, change: MembersChanged) -> None:
        for delivery, _ in self._deliveries.values():
            delivery.on_members(change)

    async def _step(self) -> None:
        """Renew the claim, and start and stop the deliveries that it allows."""
        try:
            await self._claim.renew()
        except ChatkitError as error:
            _logger.info("the claim to deliver to webhooks was not renewed: %s", error)
        parked = set(self._table.parked)
        active = [each for each in self._table.webhooks.values() if each.id not in parked]
        wanted = set(active) if self._claim.is_held else set()
        ended = [webhook for webhook, (_, task) in self._deliveries.items() if task.done() or webhook not in wanted]
        await self._stop(ended)
        for webhook in wanted - self._deliveries.keys():
            delivery = WebhookDelivery(
                self._hub, webhook, await self._sender(), self._names, lambda: self._claim.is_held
            )
            self._deliveries[webhook] = delivery, asyncio.create_task(_logged(delivery))

    async def _sender(self) -> Sends:
        if self._opened is None:
            made = await asyncio.to_thread(_new_sender, self.policy)
            self._opened = self._opened or made
        return self._opened

    async def _stop(self, webhooks: list[Webhook]) -> None:
        tasks = [self._deliveries.pop(webhook)[1] for webhook in webhooks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _new_sender(policy: AddressPolicy) -> Sends:
    from chatkit.webhooks.sender import Sender  # noqa: PLC0415  # most servers never send, and it takes 100 ms

    return Sender(policy)


async def _logged(delivery: WebhookDelivery) -> None:
    """Run a delivery, and log its error: the others go on, and it is started again."""
    try:
        await delivery.run()
    except Exception:
        _logger.exception("the delivery to the webhook %s failed", delivery.webhook.id)
