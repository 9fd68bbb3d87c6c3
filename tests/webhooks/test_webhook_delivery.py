"""What webhooks are sent: in order, at least once, by one server, and what happens while a receiver fails."""

import asyncio
import logging

import pytest
from harness import run, turns, until
from receiver import OK, receiver, status
from webhook_site import LOOPBACK, ROOT, Site, eventually, make_quick, no_claim, no_lag, site, with_site

from chatkit.core.access import RoomSettings
from chatkit.core.hub import Hub
from chatkit.webhooks import delivery as delivery_module
from chatkit.webhooks.claim import KIND
from chatkit.webhooks.room_names import RoomNames
from chatkit.webhooks.sender import Sender
from chatkit.wire.webhooks import Header


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


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
