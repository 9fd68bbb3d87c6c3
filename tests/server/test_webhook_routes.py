"""The HTTP API of webhooks: what each call answers, who may make it, and what operators see of them."""

from typing import Any

import pytest
from access_server import ROOT, AccessServer, access_server, grant, problem
from harness import run, until
from receiver import receiver, status

from chatkit.core.webhooks import WEBHOOK
from chatkit.webhooks import schedule

PROTECTED: dict[str, Any] = {"host": "localhost", "secret": "not-used-here", "webhook_allow": ("127.0.0.0/8",)}
URL = "https://example.org/hook"


async def add(server: AccessServer, by: Any, url: str = URL, **body: Any) -> dict[str, Any]:
    answer = await server.call("POST", "/webhooks", by, {"url": url, "rooms": ["ops"], **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_webhook_is_made_shown_tested_and_removed() -> None:
    async def go() -> None:
        async with access_server(**PROTECTED) as server, receiver() as to:
            ann = await server.token("ann", grant("ops", "moderate"))
            made = await add(server, ann, to.url, events=["message", "join"])
            secret = made.pop("secret")
            assert made == {
                "id": made["id"], "url": to.url, "rooms": ["ops"], "events": ["message", "join"],
                "created": made["created"], "made_by": "ann", "state": "active",
            }  # fmt: skip
            for path in ("/webhooks", f"/webhooks/{made['id']}"):
                shown = (await server.call("GET", path, ann)).json()
                assert shown == ({"webhooks": [made]} if path == "/webhooks" else made)
            await server.call("POST", "/rooms/ops/messages", ann, {"body": "hi"})
            received = await to.next()
            assert received.verify(secret)["data"]["body"] == "hi"
            to.answers = [status(201, body=b"thanks")]
            tested = (await server.call("POST", f"/webhooks/{made['id']}/test", ann)).json()
            assert (tested["ok"], tested["answer"]["status"], tested["answer"]["body"]) == (True, 201, "thanks")
            assert tested["request"]["method"] == "POST"
            assert {"name": "webhook-id", "value": (await to.next()).id} in tested["request"]["headers"]
            assert (await server.call("DELETE", f"/webhooks/{made['id']}", ann)).json() == made
            assert problem(await server.call("GET", f"/webhooks/{made['id']}", ann)) == (404, "not-found")
            assert (await server.call("GET", "/webhooks", ann)).json() == {"webhooks": []}

    run(go())


def test_only_those_who_moderate_its_rooms_know_of_a_webhook() -> None:
    async def go() -> None:
        async with access_server(**PROTECTED) as server:
            ann, bob, cat, root = [
                await server.token("ann", grant("ops", "moderate")),
                await server.token("bob", grant("ops", "read", "write"), grant("dev", "moderate")),
                await server.token("cat", grant("*", "moderate")),
                await server.token("root", grant("*", "admin")),
            ]
            path = f"/webhooks/{(await add(server, ann))['id']}"
            of_pattern = f"/webhooks/{(await add(server, root, rooms=['ops*']))['id']}"
            for by, room, code in ((bob, "ops", "forbidden"), (ann, "dev", "not-found"), (cat, "*", "forbidden")):
                body = {"url": URL, "rooms": [room]}
                assert await server.code("POST", "/webhooks", by.secret, json=body) == code
            for by, n_seen in ((ann, 1), (bob, 0), (cat, 1), (root, 2)):
                assert len((await server.call("GET", "/webhooks", by)).json()["webhooks"]) == n_seen
            for method, end in (("GET", ""), ("POST", "/test"), ("POST", "/resume"), ("DELETE", "")):
                assert await server.code(method, f"{path}{end}", bob.secret) == "not-found"
                assert await server.code(method, f"{of_pattern}{end}", ann.secret) == "not-found"
                assert await server.code(method, f"{path}{end}") == "unauthorized"
            await server.hub.moderation.ban(ROOT, "ann", room="ops")
            assert await server.code("GET", path, ann.secret) == "not-found"
            assert await server.code("POST", "/webhooks", ann.secret, json={"url": URL, "rooms": ["ops"]}) == "banned"

    run(go())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": URL, "rooms": []}, "bad-request"),
        ({"url": URL, "rooms": ["ops"], "events": ["all"]}, "bad-request"),
        ({"url": URL, "rooms": ["ops"], "secret": "mine"}, "bad-request"),
        ({"url": URL}, "bad-request"),
        ({"url": "https://ann:pw@example.org/", "rooms": ["ops"]}, "bad-request"),
        ({"url": "https://[::1/", "rooms": ["ops"]}, "bad-request"),
        ({"url": "http://127.0.0.1:8000/", "rooms": ["ops"]}, "bad-request"),
        ({"url": "http://[::ffff:169.254.169.254]/", "rooms": ["ops"]}, "bad-request"),
        ({"url": "http://localhost/", "rooms": ["ops"]}, "bad-request"),
        ({"url": URL, "rooms": ["ops"], "mention": "bob", "events": ["mention"]}, "ok"),
    ],
)
def test_what_is_not_valid_is_refused(body: dict[str, Any], code: str) -> None:
    async def go() -> None:
        async with access_server() as server:
            assert await server.code("POST", "/webhooks", json=body) == code
            assert len(await server.hub.records.scan_records(WEBHOOK)) == (code == "ok")

    run(go())


def test_a_test_does_not_reach_private_addresses() -> None:
    async def go() -> None:
        async with access_server() as server, receiver() as to:
            for host in ("2130706433", "0177.0.0.1"):  # names, as far as their texts show
                made = await add(server, None, f"http://{host}:{to.port}/")
                tested = (await server.call("POST", f"/webhooks/{made['id']}/test")).json()
                assert (tested["ok"], "answer" in tested) == (False, False)
                assert "no address on the internet" in tested["error"]
            assert to.all == []

    run(go())


def test_operators_see_what_failed_and_what_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "DELAYS_S", ())

    async def go() -> None:
        async with access_server(webhook_allow=("127.0.0.1",)) as server, receiver() as to:
            to.answers = [status(500)]
            made = await add(server, None, to.url)
            assert "webhooks_parked" not in (await server.call("GET", "/health")).json()
            await server.call("POST", "/rooms/ops/messages", body={"body": "m1"})
            await to.next()
            await until(lambda: server.hub.webhooks.table.parked)
            assert (await server.call("GET", "/health")).json()["webhooks_parked"] == [made["id"]]
            [shown] = (await server.call("GET", "/webhooks")).json()["webhooks"]
            assert (shown["state"], shown["failures"], "next_try" in shown) == ("parked", 1, False)
            assert shown["reason"] == "the receiver answered 500 Internal Server Error"
            metrics = (await server.call("GET", "/metrics")).text
            assert 'chatkit_webhook_requests_total{result="failed",worker="0"} 1.0' in metrics
            assert 'chatkit_webhooks{state="parked",worker="0"} 1.0' in metrics
            resumed = (await server.call("POST", f"/webhooks/{made['id']}/resume")).json()
            assert (resumed["state"], (await to.next()).event["data"]["body"]) == ("active", "m1")

    run(go())
