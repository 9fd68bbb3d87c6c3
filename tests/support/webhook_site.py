"""A server that delivers webhooks, and a receiver, in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from harness import run
from receiver import Receiver, receiver

from chatkit.backends.memory import MemoryBackend
from chatkit.core.access import EVERYTHING, Credential, Identity
from chatkit.core.audit import AUDIT_ROOM
from chatkit.core.consumer import Consumer
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.core.webhook import Webhook, WebhookEvent
from chatkit.webhooks import deliverer as deliverer_module
from chatkit.webhooks import delivery as delivery_module
from chatkit.webhooks import room_names, schedule
from chatkit.webhooks.address import AddressPolicy
from chatkit.webhooks.claim import KIND
from chatkit.webhooks.deliverer import Deliverer

ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
LOOPBACK = AddressPolicy(["127.0.0.0/8"])


def make_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for changes often, and repeat requests at once."""
    monkeypatch.setattr(deliverer_module, "RENEW_S", 0.02)
    for module in (delivery_module, room_names):
        monkeypatch.setattr(module, "LOOK_S", 0.02)
    monkeypatch.setattr(schedule, "DELAYS_S", (0.01,) * 8)


class Site:
    """A server that delivers, and a receiver on this machine."""

    def __init__(self, hub: Hub, to: Receiver, deliverer: Deliverer | None = None) -> None:
        self.hub = hub
        self.to = to
        self.deliverer = deliverer

    async def add(self, *rooms: str, events: str = "message", url: str = "", mention: str | None = None) -> Webhook:
        wanted = [WebhookEvent(event) for event in events.split()]
        return await self.hub.webhooks.add(ROOT, url or self.to.url, rooms or ("ops",), wanted, mention=mention)

    async def publish(self, *bodies: str, room: str = "ops", by: str = "ann") -> None:
        for body in bodies:
            await self.hub.publish(Draft.new(room, body, sender=by))

    async def audit(self) -> list[Any]:
        page = await self.hub.history(AUDIT_ROOM)
        return [message.data["event"] for message in page.messages]

    async def has_audit(self, event: str) -> bool:
        return bool((await self.audit())[-1] == event)


async def eventually(is_so: Callable[[], Awaitable[object]]) -> None:
    """Wait, with a deadline, until something holds in the store."""
    async with asyncio.timeout(10):
        while not await is_so():  # noqa: ASYNC110 - the store has no event for it
            await asyncio.sleep(0.001)


async def no_lag(consumer: Consumer) -> bool:
    return not (await consumer.status()).lag


async def no_claim(hub: Hub) -> bool:
    return not await hub.records.scan_records(KIND)


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    async with (
        MemoryBackend() as backend,
        Hub(backend) as hub,
        receiver() as to,
        Deliverer(hub, LOOPBACK) as deliverer,
    ):
        yield Site(hub, to, deliverer)


def with_site(test: Callable[[Site], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        async with site() as made:
            await test(made)

    def wrapped() -> None:
        run(main())

    wrapped.__name__ = test.__name__
    return wrapped
