"""Consumers over HTTP: their life, their workers, whose they are, and what ends a wait."""

import asyncio
from typing import Any

import pytest
from access_server import ROOT, AccessServer, access_server, grant, problem, within
from harness import run, until

from chatkit.core.model import Draft

OPS = "/rooms/ops/consumers"
INDEXER = f"{OPS}/indexer"
PROTECTED: dict[str, Any] = {"host": "localhost", "secret": "not-used-here"}


async def fill(server: AccessServer, count: int) -> None:
    for n in range(count):
        await server.hub.publish(Draft("ops", "ann", f"m{n + 1}"))


def test_a_consumer_is_made_taken_from_settled_moved_and_deleted() -> None:
    async def go() -> None:
        async with access_server() as server:
            await fill(server, 3)
            made = await server.call("PUT", INDEXER, body={"after": "start", "retries": 0})
            assert made.status_code == 201
            view = made.json()
            epoch = view["cursor"].partition(":")[0]
            assert view == {
                "room": "ops", "name": "indexer", "owner": "anonymous", "cursor": f"{epoch}:0", "lag": 3, "leased": 0,
                "waiting": 0, "failed": 0, "missed": 0, "retries": 0, "ordered": False,
            }  # fmt: skip
            again = await server.call("PUT", INDEXER, body={"after": "end", "only_if_missing": True, "ordered": True})
            assert (again.status_code, again.json()) == (200, view | {"ordered": True})
            taken = (await server.call("POST", f"{INDEXER}/take?limit=2&lease_s=60")).json()
            assert [message["body"] for message in taken["messages"]] == ["m1", "m2"]
            assert taken["cursor"] == f"{epoch}:2"
            assert (await server.call("POST", f"{INDEXER}/take")).json() == {"messages": []}
            lease = {"lease": taken["lease"]}
            extended = await server.call("POST", f"{INDEXER}/extend", body=lease | {"lease_s": 90})
            assert extended.json()["leased"] == 2
            await server.call("POST", f"{INDEXER}/ack", body=lease | {"seqs": [1]})
            retried = await server.call("POST", f"{INDEXER}/retry", body=lease | {"reason": "no disk", "delay_s": 5})
            assert (retried.json()["failed"], retried.json()["cursor"]) == (1, f"{epoch}:2")
            letters = (await server.call("GET", "/rooms/ops.failed/messages")).json()["messages"]
            assert [letter["data"] for letter in letters] == [
                {"consumer": "indexer", "seq": 2, "reason": "no disk", "tries": 1}
            ]
            released = (await server.call("POST", f"{INDEXER}/take")).json()["lease"]
            assert (await server.call("POST", f"{INDEXER}/release", body={"lease": released})).json()["waiting"] == 1
            for path in (OPS, "/consumers"):
                listed = (await server.call("GET", path)).json()["consumers"]
                assert [each["name"] for each in listed] == ["indexer"]
            moved = await server.call("PUT", INDEXER, body={"after": f"{epoch}:1"})
            assert (moved.json()["lag"], moved.json()["waiting"]) == (2, 0)
            assert (await server.call("GET", INDEXER)).json() == moved.json()
            assert (await server.call("DELETE", INDEXER)).status_code == 204
            assert problem(await server.call("GET", INDEXER)) == (404, "not-found")

    run(go())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", INDEXER, {"after": "middle"}, 400, "bad-cursor"),
        ("PUT", INDEXER, {"retries": -1}, 400, "bad-request"),
        ("PUT", INDEXER, {"retries": "many"}, 400, "bad-request"),
        ("PUT", f"{OPS}/a%20b", {}, 400, "bad-request"),
        ("PUT", f"/rooms/{'x' * 60}/consumers/c", {}, 400, "bad-request"),
        ("POST", f"{INDEXER}/take?limit=0", None, 400, "bad-request"),
        ("POST", f"{INDEXER}/take?limit=x", None, 400, "bad-request"),
        ("POST", f"{INDEXER}/take?wait_s=1e9", None, 400, "bad-request"),
        ("POST", f"{INDEXER}/take?wait_s=nan", None, 400, "bad-request"),
        ("POST", f"{INDEXER}/ack", {"lease": "none"}, 409, "lease-expired"),
        ("POST", f"{INDEXER}/ack", {}, 400, "bad-request"),
        ("POST", f"{INDEXER}/retry", {"lease": "none", "delay_s": -1}, 400, "bad-request"),
        ("POST", f"{INDEXER}/extend", {"lease": "none", "lease_s": 0}, 400, "bad-request"),
        ("POST", f"{OPS}/nobody/take", None, 404, "not-found"),
        ("POST", f"{OPS}/nobody/ack", {"lease": "none"}, 404, "not-found"),
        ("DELETE", f"{OPS}/nobody", None, 404, "not-found"),
    ],
)
def test_what_cannot_be_done_is_refused(method: str, path: str, body: Any, status: int, code: str) -> None:
    async def go() -> None:
        async with access_server() as server:
            await server.call("PUT", INDEXER, body={})
            assert problem(await server.call(method, path, body=body)) == (status, code)

    run(go())


def test_a_consumer_belongs_to_its_maker_and_to_moderators() -> None:
    async def go() -> None:
        async with access_server(**PROTECTED, open_grants=(grant("*", "read"),)) as server:
            await fill(server, 3)
            ann, bob = [await server.token(name, grant("ops", "read")) for name in ("ann", "bob")]
            cat = await server.token("cat", grant("ops", "moderate"))
            assert (await server.call("PUT", INDEXER, ann, {"after": "start"})).json()["owner"] == "ann"
            calls: list[tuple[str, str, Any]] = [
                ("PUT", INDEXER, {"after": "end"}),
                ("POST", f"{INDEXER}/take", None),
                ("POST", f"{INDEXER}/ack", {"lease": "x"}),
                ("DELETE", INDEXER, None),
            ]
            for method, path, body in calls:
                for by, sentence in ((bob, "the consumer belongs to 'ann'"), (None, "a consumer needs a token")):
                    refused = await server.call(method, path, by, body)
                    assert problem(refused) == (403, "forbidden")
                    assert sentence in refused.json()["detail"]
            assert problem(await server.call("PUT", f"{OPS}/mine", None, {})) == (403, "forbidden")
            assert (await server.call("GET", INDEXER, bob)).json()["lag"] == 3
            assert len((await server.call("POST", f"{INDEXER}/take", cat)).json()["messages"]) == 3
            assert (await server.call("PUT", INDEXER, cat, {"after": "start"})).json()["owner"] == "ann"

    run(go())


def test_consumers_of_rooms_that_one_may_not_read_do_not_exist() -> None:
    async def go() -> None:
        async with access_server(**PROTECTED) as server:
            ann = await server.token("ann", grant("dev", "read"))
            await server.hub.consumers.put("ops", "indexer", owner="root")
            await server.hub.consumers.put("dev", "builder", owner="root")
            listed = (await server.call("GET", "/consumers", ann)).json()["consumers"]
            assert [each["room"] for each in listed] == ["dev"]
            for method, path in (("GET", OPS), ("GET", INDEXER), ("PUT", INDEXER), ("POST", f"{INDEXER}/take")):
                assert problem(await server.call(method, path, ann)) == (404, "not-found")

    run(go())


def test_only_who_may_write_to_the_room_gives_a_reason_that_is_published() -> None:
    async def go() -> None:
        async with access_server(**PROTECTED) as server:
            await fill(server, 1)
            for name, rights in (("guest", ("read",)), ("worker", ("read", "write"))):
                token = await server.token(name, grant("ops", *rights))
                path = f"{OPS}/{name}"
                await server.call("PUT", path, token, {"after": "start", "retries": 0})
                lease = (await server.call("POST", f"{path}/take", token)).json()["lease"]
                await server.call("POST", f"{path}/retry", token, {"lease": lease, "reason": "buy things"})
            bodies = [message.body for message in (await server.hub.history("ops.failed")).messages]
            assert bodies == [
                "guest failed once at message 1 of ops",
                "worker failed once at message 1 of ops: buy things",
            ]

    run(go())


def test_a_wait_ends_with_a_message_or_with_nothing() -> None:
    async def go() -> None:
        async with access_server() as server:
            await server.call("PUT", INDEXER, body={})
            assert (await server.call("POST", f"{INDEXER}/take?wait_s=0.01")).json() == {"messages": []}
            waiting = asyncio.ensure_future(server.call("POST", f"{INDEXER}/take?wait_s=50"))
            await until(lambda: server.hub.counts["subscriptions"])
            await fill(server, 1)
            assert [message["seq"] for message in (await within(10, waiting)).json()["messages"]] == [1]

    run(go())


def test_a_wait_ends_if_the_token_is_revoked_and_takes_nothing_for_a_client_that_is_gone() -> None:
    async def go() -> None:
        async with access_server(**PROTECTED) as server:
            ann = await server.token("ann", grant("ops", "read"))
            await server.call("PUT", INDEXER, ann, {})
            waiting = asyncio.ensure_future(server.call("POST", f"{INDEXER}/take?wait_s=50", ann))
            await until(lambda: server.hub.counts["subscriptions"])
            waiting.cancel()
            await until(lambda: not server.hub.counts["subscriptions"])
            waiting = asyncio.ensure_future(server.call("POST", f"{INDEXER}/take?wait_s=50", ann))
            await until(lambda: server.hub.counts["subscriptions"])
            await server.hub.administration.revoke(ROOT, ann.token.id)
            assert problem(await within(10, waiting)) == (401, "unauthorized")
            await until(lambda: not server.hub.counts["subscriptions"])
            await fill(server, 1)
            assert (await server.hub.consumers.consumer("ops", "indexer").status()).leased == 0

    run(go())


@pytest.mark.parametrize("end", ["revoked", "banned", "expired"])
def test_a_lease_ends_with_the_rights_of_its_worker_and_another_gets_the_messages_at_once(end: str) -> None:
    async def go() -> None:
        async with access_server(**PROTECTED) as server:
            expires_ms = server.hub.now_ms() + 1_000 if end == "expired" else None
            ann = await server.token("ann", grant("ops", "read"), expires_ms=expires_ms)
            bob = await server.token("bob", grant("ops", "read", "moderate"))
            await fill(server, 2)
            await server.call("PUT", INDEXER, ann, {"after": "start"})
            taken = (await server.call("POST", f"{INDEXER}/take?lease_s=600&limit=2", ann)).json()
            waiting = asyncio.ensure_future(server.call("POST", f"{INDEXER}/take?wait_s=50&limit=2", bob))
            await until(lambda: server.hub.counts["subscriptions"])
            if end == "revoked":
                await server.hub.administration.revoke(ROOT, ann.token.id)
            elif end == "banned":
                await server.moderation.ban(ROOT, "ann")
            again = (await within(10, waiting)).json()
            assert again["messages"] == taken["messages"]
            assert (await server.call("GET", INDEXER, bob)).json()["leased"] == 2

    run(go())
