"""Which of several servers delivers webhooks, and what happens when it ends or loses its claim."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from harness import run, until
from receiver import Receiver, receiver
from webhook_site import LOOPBACK, Site, eventually, make_quick, no_lag

from chatkit.backends import open_backend
from chatkit.core.hub import Hub
from chatkit.errors import VersionConflict
from chatkit.webhooks.claim import KEY, KIND, TAKE_OVER_S, Claim
from chatkit.webhooks.deliverer import Deliverer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def servers(folder: Path, count: int, to: Receiver) -> AsyncIterator[list[Site]]:
    async with AsyncExitStack() as opened:
        hubs = []
        for _ in range(count):
            backend = await opened.enter_async_context(open_backend(f"sqlite:///{folder}/rooms.db"))
            hubs.append(await opened.enter_async_context(Hub(backend)))
        yield [Site(hub, to) for hub in hubs]


def test_of_two_servers_one_delivers_and_the_other_goes_on_at_once_when_it_ends(tmp_path: Path) -> None:
    async def go() -> None:
        async with receiver() as to, servers(tmp_path, 2, to) as (first, second):
            async with Deliverer(second.hub, LOOPBACK):
                async with Deliverer(first.hub, LOOPBACK):
                    await first.add()
                    await first.publish(*(f"m{n}" for n in range(20)))
                    assert await to.bodies(20) == [f"m{n}" for n in range(20)]
                await first.publish(*(f"m{n}" for n in range(20, 40)))
                assert await to.bodies(20) == [f"m{n}" for n in range(20, 40)]
            assert len(to.all) == 40

    run(go())


class CountedClaim(Claim):
    """A claim that counts how often its server has tried to renew it."""

    n_renewals = 0

    async def renew(self) -> bool:
        try:
            return await super().renew()
        finally:
            self.n_renewals += 1

    async def renewed(self, times: int = 3) -> None:
        last = self.n_renewals + times
        await until(lambda: self.n_renewals >= last)


def test_a_killed_server_is_replaced_and_what_it_had_taken_is_sent_again(tmp_path: Path) -> None:
    """A killed server leaves a claim that nobody renews, and messages with a lease."""

    async def go() -> None:
        async with receiver() as to, servers(tmp_path, 2, to) as (killed, second):
            webhook = await killed.add()
            await Claim(killed.hub.records).renew()
            await killed.publish("m1", "m2", "m3")
            consumer = killed.hub.consumers.consumer("ops", webhook.consumer)
            await consumer.receive(limit=2, lease_s=0.2)
            await second.hub.refresh_access()
            clock = Clock()
            claim = CountedClaim(second.hub.records, clock=clock)
            async with Deliverer(second.hub, LOOPBACK, claim=claim):
                await claim.renewed()
                clock.now_s += TAKE_OVER_S - 0.1
                await claim.renewed()
                assert to.all == []
                clock.now_s += 0.1
                assert await to.bodies(3) == ["m1", "m2", "m3"]

    run(go())


def test_a_server_that_lost_the_claim_sends_nothing_until_it_has_it_again(tmp_path: Path) -> None:
    async def go() -> None:
        async with receiver() as to, servers(tmp_path, 2, to) as (first, second):
            claim = CountedClaim(first.hub.records)
            async with Deliverer(first.hub, LOOPBACK, claim=claim):
                webhook = await first.add()
                await first.publish("m1")
                assert await to.bodies(1) == ["m1"]
                await eventually(lambda: no_lag(first.hub.consumers.consumer("ops", webhook.consumer)))
                version = await take_claim(second.hub)
                await claim.renewed()
                assert not claim.is_held
                await first.publish("m2", "m3")
                await claim.renewed()
                assert len(to.all) == 1
                await second.hub.records.put_record(KIND, KEY, None, expected_version=version)
                assert await to.bodies(2) == ["m2", "m3"]

    run(go())


async def take_claim(hub: Hub) -> int:
    """Let another server have the claim, between two renewals of its holder; return the version of its record."""
    while True:
        record = await hub.records.get_record(KIND, KEY)
        try:
            version = 0 if record is None else record.version
            return (await hub.records.put_record(KIND, KEY, b"another", expected_version=version)).version
        except VersionConflict:
            continue
