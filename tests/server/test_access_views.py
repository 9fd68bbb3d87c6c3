"""What clients see of access: lists, marks of messages, and who may redact."""

from access_server import ROOT, AccessServer, access_server, grant
from raw_client import run

from chatkit.core.model import Draft
from chatkit.core.token import TokenKind


def test_lists_have_only_what_the_client_may_read() -> None:
    async def test() -> None:
        async with access_server(host="localhost", secret="not-used-here") as server:
            readers = {
                "ann": (await server.token("ann", grant("ops", "read"))).secret,
                "bob": (await server.token("bob", grant("*", "read"))).secret,
                "root": (await server.token("cat", grant("*", "admin"))).secret,
                "nobody": (await server.token("dan")).secret,
            }
            for room in ("ops", "dev"):
                await server.hub.publish(Draft(room, "bob", "x"))
            async with server.talk("/ws/empty", readers["bob"]) as talk:
                await talk.until("joined")
                found = {name: await rooms_of(server, secret) for name, secret in readers.items()}
                assert found == {
                    "ann": ["ops"], "bob": ["dev", "empty", "ops"], "root": ["dev", "empty", "ops"], "nobody": [],
                }  # fmt: skip
                await server.moderation.ban(ROOT, "bob", room="ops")
                assert await rooms_of(server, readers["bob"]) == ["dev", "empty"]

    run(test())


async def rooms_of(server: AccessServer, secret: str) -> list[str]:
    answer = await server.http.get("/rooms", headers={"authorization": f"Bearer {secret}"})
    return [room["room"] for room in answer.json()["rooms"]]


def test_messages_say_whether_their_sender_is_known() -> None:
    async def test() -> None:
        async with access_server(open_grants=(grant("*", "read", "write"),)) as server:
            person = await server.token("ann", grant("*", "write", "read"))
            bot = await server.token("deploy", grant("*", "write", "read"), kind=TokenKind.BOT)
            for secret, name, marks in (
                (person.secret, "ann", {"verified": True}),
                (bot.secret, "deploy", {"verified": True, "bot": True}),
                (None, "guest", {}),
            ):
                async with server.talk("/ws/ops?name=guest", secret) as talk:
                    welcome = await talk.receive()
                    assert welcome["name"] == name
                    assert marks.items() == {key: welcome[key] for key in ("verified", "bot") if key in welcome}.items()
                    joined = await talk.until("joined")
                    await talk.send(op="publish", body="by JSON")
                    found = [await talk.until("message", seq=joined["last"] + 1)]
                    async with server.text("/ws/ops?name=guest&history=0", secret) as text:
                        await text.send("by text")
                        found.append(await talk.until("message", body="by text"))
                headers = {"authorization": f"Bearer {secret}"} if secret else {}
                answer = await server.http.post("/rooms/ops/messages?name=guest", content="x", headers=headers)
                for message in [*found, answer.json()]:
                    assert message["sender"] == name
                    assert {key: message[key] for key in ("verified", "bot") if key in message} == marks

    run(test())


def test_redaction_needs_moderate_or_the_token_of_the_sender() -> None:
    async def test() -> None:
        async with access_server(open_grants=(grant("*", "read", "write"),)) as server:
            tokens = {
                name: (await server.token(name, grant("ops", right))).secret
                for name, right in (("ann", "write"), ("bob", "moderate"), ("cat", "read"))
            }
            await server.token("ann", grant("ops", "read"))
            ann = (await server.token("ann", grant("ops", "read", "write"))).secret
            for _ in range(3):
                await server.code("POST", "/rooms/ops/messages", ann, content="x")
            await server.code("POST", "/rooms/ops/messages", params={"name": "guest"}, content="x")
            await server.hub.publish(Draft("ops", "ann", "by an earlier guest of that name"))
            path = "/rooms/ops/messages/"
            assert await server.code("DELETE", f"{path}1", tokens["cat"]) == "forbidden"
            assert await server.code("DELETE", f"{path}1", tokens["ann"]) == "not-found"
            assert await server.code("DELETE", f"{path}4", params={"name": "guest"}) == "forbidden"
            assert await server.code("DELETE", f"{path}5", ann) == "forbidden"
            assert await server.code("DELETE", f"{path}1", ann) == "ok"
            assert await server.code("DELETE", f"{path}4", tokens["bob"]) == "ok"
            assert await server.code("DELETE", f"{path}4", tokens["bob"]) == "ok"
            entries = [message for message in (await server.hub.history(".audit")).messages if message.data]
            redacted = [entry for entry in entries if entry.data["event"] == "message-redacted"]
            assert [(entry.sender, entry.data["seq"], entry.verified) for entry in redacted] == [
                ("ann", 1, True), ("bob", 4, True),
            ]  # fmt: skip
            assert all(secret not in str(entries) for secret in tokens.values())

    run(test())


def test_redactions_count_as_messages() -> None:
    async def test() -> None:
        async with access_server(rate_limit=1) as server:
            for _ in range(5):
                await server.hub.publish(Draft("ops", "bob", "x"))
            found = [await server.code("DELETE", f"/rooms/ops/messages/{n % 5 + 1}") for n in range(20)]
            assert found[0] == "ok"
            assert found[-1] == "rate-limited"

    run(test())
