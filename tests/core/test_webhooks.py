"""Webhooks: who may make which, what is checked, what the audit says, and what a process knows of them."""

import logging
from typing import Any

import pytest
from harness import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core import webhooks as webhooks_module
from chatkit.core.access import EVERYTHING, Grant, Identity, Right
from chatkit.core.audit import AUDIT_ROOM
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Gap, Message
from chatkit.core.webhook import MAX_ROOMS, MAX_URL_CHARS, Webhook, WebhookEvent, check_url, new_secret
from chatkit.core.webhooks import FAILURES, WEBHOOK
from chatkit.errors import BadName, BadRequest, ChatkitError

URL = "https://example.org/hook/secret-part?key=also-secret"
ROOT = Identity("root", grants=EVERYTHING)
MESSAGE, MENTION, JOIN = WebhookEvent.MESSAGE, WebhookEvent.MENTION, WebhookEvent.JOIN


def somebody(*grants: tuple[str, str]) -> Identity:
    return Identity("bob", grants=tuple(Grant(rooms, (Right(right),)) for rooms, right in grants))


def webhook(**given: Any) -> Webhook:
    values = {"id": "k3f9x2m4qa", "url": URL, "rooms": ("ops",), "events": (MESSAGE,), "secret": new_secret()}
    return Webhook(**{**values, "made_by": "ann", "created_ms": 0, **given})


async def outcome(job: Any) -> str:
    try:
        await job
    except ChatkitError as error:
        return error.code
    return "ok"


# Rights


@pytest.mark.parametrize(
    ("grants", "rooms", "code"),
    [
        ([("ops", "moderate")], ["ops"], "ok"),
        ([("ops", "read")], ["ops"], "forbidden"),
        ([("dev", "moderate")], ["ops"], "not-found"),
        ([("ops", "moderate"), ("dev", "read")], ["ops", "dev"], "forbidden"),
        ([("ops*", "moderate")], ["ops*"], "forbidden"),
        ([("ops*", "admin")], ["ops*"], "forbidden"),
        ([("*", "moderate")], ["*"], "forbidden"),
        ([("*", "admin")], ["*"], "ok"),
        ([], ["ops"], "not-found"),
    ],
)
def test_who_moderates_a_room_may_make_its_webhooks_and_administrators_those_of_patterns(
    grants: list[tuple[str, str]], rooms: list[str], code: str
) -> None:
    async def go() -> None:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            by = somebody(*grants)
            assert await outcome(hub.webhooks.add(by, URL, rooms)) == code
            made = await hub.webhooks.add(ROOT, URL, rooms)
            can = code == "ok"
            assert (made.id in [status.webhook.id for status in await hub.webhooks.statuses(by)]) is can
            for call in (hub.webhooks.status, hub.webhooks.resume, hub.webhooks.remove):
                assert await outcome(call(by, made.id)) == ("ok" if can else "not-found")

    run(go())


# Checks


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/", "example.org/hook", "https://", "https:///hook", "https://ann:pw@example.org/",
        "https://example.org:0/", "https://example.org:99999/", "https://[::1/", "https://exämple.org/",
        "https://example.org/a b", "https://example.org/\n", "https://example.org/#part", "https://example.org\\@evil.org/",
        "file:///etc/passwd", "", "javascript:alert(1)", f"https://example.org/{'a' * MAX_URL_CHARS}",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(BadRequest):
        check_url(url)


@pytest.mark.parametrize(
    "url", [URL, "http://localhost:8080", "https://[2606:4700::1111]:8443/x", "https://xn--bcher-kva.example/"]
)
def test_addresses_of_http_are_accepted(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("rooms", "events", "mention"),
    [
        ([], [MESSAGE], None),
        ([f"room{n}" for n in range(MAX_ROOMS + 1)], [MESSAGE], None),
        (["a b"], [MESSAGE], None),
        ([".audit"], [MESSAGE], None),
        ([".a*"], [MESSAGE], None),
        (["ops"], [], None),
        (["ops"], [MESSAGE], "bob"),
        (["ops"], [MENTION], "\x07"),
        (["r" * 60], [MESSAGE], None),  # no room is left for `.failed`
    ],
)
def test_what_cannot_be_sent_is_refused(rooms: list[str], events: list[WebhookEvent], mention: str | None) -> None:
    async def go() -> None:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            with pytest.raises((BadRequest, BadName)):
                await hub.webhooks.add(ROOT, URL, rooms, events, mention=mention)
            assert await hub.webhooks.statuses(ROOT) == []

    run(go())


def test_their_number_and_that_of_their_rooms_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks_module, "MAX_WEBHOOKS", 2)
    monkeypatch.setattr(webhooks_module, "MAX_MATCHED", 3)

    async def go() -> None:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            for n in range(4):
                await hub.publish(Draft.new(f"ops{n}", "hi"))
            with pytest.raises(BadRequest, match="match 4 rooms"):
                await hub.webhooks.add(ROOT, URL, ["ops*"])
            assert await hub.consumers.statuses() == []
            await hub.webhooks.add(ROOT, URL, ["ops*"], [JOIN])  # needs no position in a log
            await hub.webhooks.add(ROOT, URL, ["ops1", "ops2", "ops1"])
            assert [consumer.room for consumer in await hub.consumers.statuses()] == ["ops1", "ops2"]
            with pytest.raises(BadRequest, match="at most 2 webhooks"):
                await hub.webhooks.add(ROOT, URL, ["dev"])

    run(go())


# Records


def test_the_audit_names_the_host_and_neither_the_secret_nor_the_rest_of_the_address() -> None:
    async def go() -> None:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            made = await hub.webhooks.add(somebody(("ops", "moderate")), URL, ["ops"], [MESSAGE, JOIN])
            await hub.webhooks.record_failure(made, "the receiver answered 500", lambda *_: None)
            await hub.webhooks.resume(ROOT, made.id)
            await hub.webhooks.resume(ROOT, made.id)  # has no failures: nothing to report
            await hub.webhooks.remove(ROOT, made.id)
            entries = (await hub.history(AUDIT_ROOM)).messages
            assert [(entry.data["event"], entry.data["by"]) for entry in entries] == [
                ("webhook-added", "bob"), ("webhook-parked", "chatkit"), ("webhook-resumed", "root"),
                ("webhook-removed", "root"),
            ]  # fmt: skip
            assert entries[0].data["host"] == "https://example.org"
            assert entries[0].body == "made the webhook of ops to https://example.org"
            assert "the receiver answered 500" in entries[1].body
            for entry in entries:
                assert "secret" not in f"{entry.body} {entry.data}"
                assert made.secret not in f"{entry.body} {entry.data}"
            assert await backend.scan_records(WEBHOOK) == await backend.scan_records(FAILURES) == []
            assert await hub.consumers.statuses() == []

    run(go())


def test_each_process_knows_the_webhooks_of_the_store_and_their_failures(caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> None:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            table, changes = hub.webhooks.table, []
            table.on_change = lambda: changes.append(len(table.webhooks))
            made = await hub.webhooks.add(ROOT, URL, ["ops"])
            assert table.webhooks == {made.id: made}
            failed = await hub.webhooks.record_failure(made, "no answer", lambda *_: 60.0)
            assert table.failures == {made.id: failed}
            assert failed.next_ms - failed.failing_since_ms == 60_000
            again = await hub.webhooks.record_failure(made, "no answer", lambda before, _: float(before is failed))
            assert (again.n_failed, again.failing_since_ms) == (2, failed.failing_since_ms)
            await hub.webhooks.forget_failures(made.id)
            assert (table.failures, table.parked) == ({}, [])
            assert len(changes) == 4
            await hub.records.put_record(WEBHOOK, "other", b"nonsense", expected_version=0)
            assert set(table.webhooks) == {made.id}
            assert "left out" in caplog.text
            async with Hub(backend) as other:
                assert other.webhooks.table.webhooks == {made.id: made}

    with caplog.at_level(logging.WARNING):
        run(go())


def test_the_secret_is_stored_and_shown_in_no_text() -> None:
    made = webhook()
    assert made.secret not in f"{made} {made!r} {[made]}"


# Values


def message(**given: Any) -> Message:
    return Message(**{"room": "ops", "epoch": "e", "seq": 1, "time_ms": 0, "sender": "ann", "body": "hi", **given})


def test_a_message_is_sent_once_as_what_was_asked_for() -> None:
    of_bob, of_cat, plain = message(mentions=("bob",)), message(mentions=("cat",)), message()
    both, bob = webhook(events=(MESSAGE, MENTION)), webhook(events=(MENTION,), mention="bob")
    anybody, join = webhook(events=(MENTION,)), webhook(events=(JOIN,))
    sent = [[each.event_of(m) for m in (of_bob, of_cat, plain)] for each in (webhook(), both, bob, anybody, join)]
    assert sent == [
        [MESSAGE, MESSAGE, MESSAGE], [MENTION, MENTION, MESSAGE], [MENTION, None, None], [MENTION, MENTION, None],
        [None, None, None],
    ]  # fmt: skip


def test_the_id_of_a_request_is_that_of_its_message_and_webhook() -> None:
    one, other = webhook(), webhook(id="another1234")
    ids = {
        one.message_id(message()),
        one.message_id(message(seq=2)),
        one.message_id(message(epoch="f")),
        one.message_id(message(room="dev")),
        other.message_id(message()),
        one.gap_id("ops", Gap(0, 2, "trimmed")),
    }
    assert len(ids) == 6
    assert one.message_id(message()) == one.message_id(message(body="edited"))
    assert all(each.startswith("msg_") and each.isascii() and "." not in each for each in ids)
