"""What webhooks are sent: in order, at least once, by one server, and what happens while a receiver fails."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import run, turns, until
from receiver import OK, Receiver, receiver, status

from chatkit.backends import open_backend
from chatkit.backends.memory import MemoryBackend
from chatkit.core.access import EVERYTHING, Credential, Identity, RoomSettings
from chatkit.core.audit import AUDIT_ROOM
from chatkit.core.consumer import Consumer
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.core.webhook import Webhook, WebhookEvent
from chatkit.errors import VersionConflict
from chatkit.webhooks import deliverer as deliverer_module
from chatkit.webhooks import delivery as delivery_module
from chatkit.webhooks import room_names, schedule
from chatkit.webhooks.address import AddressPolicy
from chatkit.webhooks.claim import KEY, KIND, TAKE_OVER_S, Claim
from chatkit.webhooks.deliverer import Deliverer
from chatkit.webhooks.room_names import RoomNames
from chatkit.webhooks.sender import Sender
from chatkit.wire.webhooks import Header

ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
LOOPBACK = AddressPolicy(["127.0.0.0/8"])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
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


# Messages


@with_site
async def test_messages_are_sent_in_order_from_the_moment_the_webhook_is_made(at: Site) -> None:
    await at.publish("before")
    webhook = await at.add()
    await at.publish(*(f"m{n}" for n in range(50)))
    received = [await at.to.next() for _ in range(50)]
    assert [each.event["data"]["body"] for each in received] == [f"m{n}" for n in range(50)]
    first = received[0].verify(webhook.secret)
    assert first == {
        "type": "message",
        "timestamp": first["data"]["time"],
        "data": {"room": "ops", "seq": 2, "time": first["data"]["time"], "sender": "ann", "body": "m0"},
    }
    assert len({each.id for each in received}) == 50
    consumer = at.hub.consumers.consumer("ops", webhook.consumer)
    await eventually(lambda: no_lag(consumer))
    assert at.to.received.empty()


@with_site
async def test_a_pattern_also_matches_rooms_that_are_made_later(at: Site) -> None:
    await at.publish("old", room="ops1")
    await at.add("ops*")
    await at.publish("new", room="ops1")
    await at.publish("first", room="ops2")
    await at.publish("other", room="dev")
    assert sorted(await at.to.bodies(2)) == ["first", "new"]
    await at.publish("second", room="ops2")
    assert await at.to.bodies(1) == ["second"]


@with_site
async def test_mentions_are_sent_of_a_name_or_of_anybody(at: Site) -> None:
    hub = at.hub
    with await hub.subscribe("ops", member="bob"), await hub.subscribe("ops", member="cat"):
        await at.add(events="mention", mention="bob", url=f"{at.to.url}/bob")
        await at.add(events="mention", url=f"{at.to.url}/any")
        await at.add(events="message mention", mention="cat", url=f"{at.to.url}/all")
        await at.publish("hi", "hi @bob", "hi @cat")
        received = [await at.to.next() for _ in range(6)]
    sent: dict[str, list[tuple[str, str]]] = {}
    for each in received:
        path = each.path.rpartition("/")[2]
        sent.setdefault(path, []).append((each.event["type"], each.event["data"]["body"]))
    assert sent == {
        "bob": [("mention", "hi @bob")],
        "any": [("mention", "hi @bob"), ("mention", "hi @cat")],
        "all": [("message", "hi"), ("message", "hi @bob"), ("mention", "hi @cat")],
    }


@with_site
async def test_who_joins_and_leaves_is_sent(at: Site) -> None:
    await at.add(events="join leave")
    await until(lambda: at.hub.webhooks.table.on_members)
    await until_delivering(at.hub)
    with await at.hub.subscribe("ops", member="bob"), await at.hub.subscribe("dev", member="cat"):
        joined = (await at.to.next()).event
        assert (joined["type"], joined["data"]) == ("join", {"room": "ops", "name": "bob", "count": 1})
    left = (await at.to.next()).event
    assert (left["type"], left["data"]) == ("leave", {"room": "ops", "name": "bob", "count": 0})


async def until_delivering(hub: Hub) -> None:
    """Wait until the claim is held: joins before it are not sent."""
    await eventually(lambda: hub.records.scan_records(KIND))
    await turns(100)


@with_site
async def test_a_gap_is_sent_before_what_comes_after_it(at: Site) -> None:
    at.to.answers = [status(410)]
    webhook = await at.add()
    await at.publish("lost 1")
    await at.to.next()
    await until(lambda: at.hub.webhooks.table.parked)
    await at.publish("lost 2", "kept")
    await at.hub.trim("ops", keep=1)
    at.to.answers = [status(500), OK, status(500)]
    await at.hub.webhooks.resume(ROOT, webhook.id)
    received = [await at.to.next() for _ in range(4)]
    assert [each.event["type"] for each in received] == ["gap", "gap", "message", "message"]
    assert received[0].event["data"] == {"room": "ops", "after": 0, "before": 3, "reason": "trimmed"}
    assert received[0].id == received[1].id != received[2].id == received[3].id


@with_site
async def test_a_renamed_room_goes_on_where_it_was(at: Site) -> None:
    webhook = await at.add()
    await at.publish("m1")
    assert await at.to.bodies(1) == ["m1"]
    at.to.answers = [status(410)]
    await at.publish("m2")
    await at.to.next()
    await until(lambda: at.hub.webhooks.table.parked)
    await at.hub.moderation.rename_room(ROOT, "ops", "operations")
    await at.hub.webhooks.resume(ROOT, webhook.id)
    assert await at.to.bodies(1) == ["m2"]
    await at.publish("m3", room="operations")
    assert (await at.to.next()).event["data"]["room"] == "operations"


# Failures


@with_site
async def test_a_message_that_fails_is_sent_again_with_its_id_and_holds_back_those_after_it(at: Site) -> None:
    at.to.answers = [OK, status(500), status(302, "Location: /x"), b"nonsense\r\n\r\n", status(404)]
    await at.add()
    await at.publish("m1", "m2", "m3")
    received = [await at.to.next() for _ in range(7)]
    assert [each.event["data"]["body"] for each in received] == ["m1", *["m2"] * 5, "m3"]
    assert len({each.id for each in received}) == 3
    assert len({each.headers["webhook-signature"] for each in received}) >= 3
    table = at.hub.webhooks.table
    await until(lambda: table.n_delivered == 3 and not table.failures)
    measures = table.measure()
    assert (measures.n_delivered, measures.n_failed, measures.n_parked) == (3, 4, 0)


@with_site
async def test_the_time_that_a_receiver_asks_for_is_given(at: Site) -> None:
    at.to.answers = [status(429, "Retry-After: 1000")]
    webhook = await at.add()
    before_ms = at.hub.now_ms()
    await at.publish("m1", "m2")
    await until(lambda: at.hub.webhooks.table.failures)
    delivery = at.hub.webhooks.table.failures[webhook.id]
    assert 1_000_000 <= delivery.next_ms - before_ms < 1_100_000
    assert delivery.reason == "the receiver answered 429 Too Many Requests"
    assert len(at.to.all) == 1
    await at.hub.webhooks.resume(ROOT, webhook.id)  # somebody who knows better
    assert await at.to.bodies(3) == ["m1", "m1", "m2"]


@pytest.mark.parametrize(("answers", "tries"), [([status(410)], 1), ([status(500)] * 9, 9)])
def test_a_webhook_is_parked_and_reported_and_goes_on_when_somebody_resumes_it(
    answers: list[bytes], tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        async with site() as at:
            at.to.answers = [*answers]
            webhook = await at.add()
            await at.publish("m1", "m2")
            assert await at.to.bodies(tries) == ["m1"] * tries
            await until(lambda: at.hub.webhooks.table.parked)
            [shown] = await at.hub.webhooks.statuses(ROOT)
            assert shown.failures is not None
            assert (shown.failures.n_failed, shown.failures.parked_ms is None) == (tries, False)
            await eventually(lambda: at.has_audit("webhook-parked"))
            assert [record.levelname for record in caplog.records if "is parked" in record.message] == ["ERROR"]
            assert webhook.secret not in caplog.text
            await at.hub.webhooks.resume(ROOT, webhook.id)
            assert await at.to.bodies(2) == ["m1", "m2"]
            assert len(at.to.all) == tries + 2
            assert (await at.audit())[-1] == "webhook-resumed"

    with caplog.at_level(logging.WARNING):
        run(go())


@with_site
async def test_one_slow_receiver_delays_no_other(at: Site) -> None:
    async def hang(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with receiver() as slow:
        slow.answers = [hang] * 100
        for _ in range(5):
            await at.add("ops", "dev", url=slow.url)
        await at.add()
        await at.publish(*(f"m{n}" for n in range(40)))
        assert await at.to.bodies(40) == [f"m{n}" for n in range(40)]
        assert len(slow.all) <= 5  # one request at a time to each


@with_site
async def test_a_removed_webhook_gets_nothing_more_and_leaves_nothing(at: Site) -> None:
    webhook = await at.add("ops", "dev*")
    await at.publish("m1")
    assert await at.to.bodies(1) == ["m1"]
    await at.hub.webhooks.remove(ROOT, webhook.id)
    await at.publish("m2")
    await at.add(url=f"{at.to.url}/other")
    await at.publish("m3")
    assert (await at.to.next()).path == "/hook/other"
    assert len(await at.hub.consumers.statuses()) == 1


@with_site
async def test_nothing_runs_without_webhooks(at: Site) -> None:
    await at.publish("m1")
    assert await at.hub.records.scan_records(KIND) == []
    webhook = await at.add()
    await at.publish("m2")
    assert await at.to.bodies(1) == ["m2"]
    assert await at.hub.records.scan_records(KIND) != []
    await at.hub.webhooks.remove(ROOT, webhook.id)
    await eventually(lambda: no_claim(at.hub))


# Several servers


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
                await first.add()
                await first.publish("m1")
                assert await to.bodies(1) == ["m1"]
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


# Tests


@with_site
async def test_a_test_shows_the_request_and_its_answer(at: Site) -> None:
    assert at.deliverer is not None
    webhook = await at.add()
    at.to.answers = [status(418, "X-Kind: teapot", body=b"no coffee")]
    exchange = await at.deliverer.send_test(webhook, "root")
    received = await at.to.next()
    assert received.verify(webhook.secret)["type"] == "test"
    view = exchange.view(webhook.url)
    assert (view.ok, view.request.url, view.answer and view.answer.body) == (False, webhook.url, "no coffee")
    assert view.answer is not None
    assert view.answer.header("x-kind") == "teapot"
    assert Header("webhook-id", received.id) in view.request.headers
    assert not at.hub.webhooks.table.failures  # a test counts neither as a failure nor as a success


def test_a_room_that_is_being_renamed_is_waited_for() -> None:
    async def go() -> None:
        async with site() as at:
            webhook = await at.add()
            at.hub.access._settings["ops"] = RoomSettings(renamed_to="new", is_moving=True)
            delivery = delivery_module.WebhookDelivery(
                at.hub, webhook, Sender(LOOPBACK), RoomNames(at.hub), lambda: True
            )
            assert delivery._current_name("ops") is None
            at.hub.access._settings["ops"] = RoomSettings(renamed_to="new")
            assert delivery._current_name("ops") == "new"
            at.hub.access._settings["new"] = RoomSettings(renamed_to="ops")
            assert delivery._current_name("ops") is None

    run(go())
