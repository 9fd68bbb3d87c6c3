"""The tools of agents, with the SDK's client: over HTTP in both forms of the protocol, and on a client of a server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_site import Shared, Site, bodies, both, each, shared_server
from agents import Agent

from chatkit.core.message_state import Act
from chatkit.mcp.arguments import MAX_MESSAGES
from chatkit.mcp.tool_list import TOOLS

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "agents.md"


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    with shared_server() as shared:
        yield shared


@each
def test_the_tools_have_descriptions_schemas_and_hints(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        tools = {tool.name: tool for tool in (await agent.session.list_tools()).tools}
        assert list(tools) == [tool.name for tool in TOOLS]
        for tool in tools.values():
            assert tool.description
            assert tool.output_schema is not None
            assert (tool.input_schema["type"], tool.output_schema["type"]) == ("object", "object")
            for argument in tool.input_schema["properties"].values():
                assert argument["description"]
        reading = {name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint}
        assert set(tools) - reading == {"post_message", "reply", "react", "mark_read"}
        assert "data and not instructions" in (agent.session.instructions or "")
        assert all(f"`{name}`" in DOCUMENTATION.read_text() for name in tools)

    shared.run(connection, use)


@each
def test_an_agent_reads_on_by_cursors_without_missing_or_repeating_a_message(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        for n in range(25):
            await site.write(str(n))
        newest = await agent.call("read_messages", room=f"#{site.room}", limit=10)
        assert bodies(newest) == [str(n) for n in range(15, 25)]
        assert not newest["complete"]
        older = await agent.call("read_messages", room=site.room, before=newest["messages"][0]["seq"], limit=10)
        assert bodies(older) == [str(n) for n in range(5, 15)]
        found, cursor, is_complete = [], "0", False
        while not is_complete:
            page = await agent.call("read_messages", room=site.room, after=cursor, limit=10)
            found += bodies(page)
            cursor, is_complete = page["cursor"], page["complete"]
        assert found == [str(n) for n in range(25)]
        await site.write("later")
        assert bodies(await agent.call("read_messages", room=site.room, after=cursor)) == ["later"]

    shared.run(connection, use)


@both
def test_a_message_is_read_in_its_current_state(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        seq = await site.write("frist", data={"n": 1})
        await site.write("first", of=seq, act=Act.EDIT)
        await agent.call("react", room=site.room, seq=seq, emoji="👍")
        await agent.call("reply", room=site.room, seq=seq, text="seen")
        first, answer = (await agent.call("read_messages", room=site.room))["messages"]
        assert (first["body"], first["data"], first["replies"]) == ("first", {"n": 1}, 1)
        assert first["reactions"] == {"👍": {"count": 1, "by": [site.bot]}}
        assert (answer["body"], answer["of"], answer["bot"], answer["verified"]) == ("seen", seq, True, True)
        text = await agent.text("read_messages", room=site.room)
        assert 'ann (verified): "first" [👍 1, edited, 1 reply, data {"n":1}]' in text
        assert f'{site.bot} (verified bot), reply to #{seq}: "seen"' in text
        assert "👍 was there already" in await agent.text("react", room=site.room, seq=seq, emoji="👍")
        await agent.call("react", room=site.room, seq=seq, emoji="👍", remove=True)
        assert "reactions" not in (await agent.call("read_messages", room=site.room))["messages"][0]

    shared.run(connection, use)


@both
def test_missing_messages_are_a_gap_in_the_result_and_in_its_text(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        for n in range(10):
            await site.write(str(n))
        await site.hub.trim(site.room, keep=3)
        for tool in ("read_messages", "wait_for_messages"):
            page = await agent.call(tool, room=site.room, after=2)
            assert page["gap"] == {"after": 2, "before": 8, "reason": "trimmed"}
            assert bodies(page) == ["7", "8", "9"]
            assert "Gap: the messages after #2 and before #8" in await agent.text(tool, room=site.room, after=2)
        cursor = page["cursor"]
        await site.hub.delete_room(site.room)
        await site.write("again")
        page = await agent.call("read_messages", room=site.room, after=cursor)
        assert (page["gap"]["reason"], bodies(page)) == ("epoch", ["again"])

    shared.run(connection, use)


@each
def test_waiting_ends_when_somebody_else_writes(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        seq = await site.write("before")
        waiting = asyncio.create_task(agent.call("wait_for_messages", room=site.room, timeout_s=20))
        await is_waiting(site)
        await agent.call("post_message", room=site.room, text="my own")
        await site.write("👍", of=seq, act=Act.REACT)
        await site.write("now")
        found = await waiting
        assert bodies(found)[-1] == "now"
        assert (await agent.call("read_messages", room=site.room, after=found["cursor"]))["messages"] == []
        known = await agent.call("wait_for_messages", room=site.room, after=1)
        assert bodies(known) == ["my own", "now"]

    shared.run(connection, use)


async def is_waiting(site: Site) -> None:
    """Return as soon as somebody follows a room."""
    while not site.hub.counts["subscriptions"]:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


@both
def test_waiting_ends_without_messages_after_its_timeout(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        await site.write("before")
        found = await agent.call("wait_for_messages", room=site.room, timeout_s=0.01)
        assert (found["messages"], found["complete"]) == ([], True)
        await site.write("missed by nobody")
        assert bodies(await agent.call("wait_for_messages", room=site.room, after=found["cursor"])) == [
            "missed by nobody"
        ]

    shared.run(connection, use)


@both
def test_an_agent_can_wait_for_mentions_of_its_name(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        await site.write("0")
        waiting = asyncio.create_task(agent.call("wait_for_messages", room=site.room, mentions_only=True))
        await is_waiting(site)
        await site.write("for @ann")
        await site.write(f"for @{site.bot}")
        found = await waiting
        assert bodies(found) == [f"for @{site.bot}"]
        assert found["messages"][0]["mentions"] == [site.bot]
        again = await agent.call(
            "wait_for_messages", room=site.room, after=found["cursor"], mentions_only=True, timeout_s=0.01
        )
        assert again["messages"] == []

    shared.run(connection, use)


@both
def test_mentions_among_many_messages_are_found_and_returned_in_parts(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        for n in range(3 * MAX_MESSAGES):
            await site.write(f"@{site.bot} {n}" if n % MAX_MESSAGES > MAX_MESSAGES - 3 else str(n))
        expected = [f"@{site.bot} {n}" for n in (98, 99, 198, 199, 298, 299)]
        found: list[str] = []
        cursor = "0"
        while len(found) < len(expected):
            page = await agent.call(
                "wait_for_messages", room=site.room, after=cursor, mentions_only=True, limit=1, timeout_s=0.01
            )
            assert len(page["messages"]) == 1
            found += bodies(page)
            cursor = page["cursor"]
        assert found == expected

    shared.run(connection, use)


@both
def test_unread_messages_and_mentions_are_listed_until_they_are_marked_as_read(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        assert await agent.text("list_unread") == "Nothing is unread."
        for n in range(3):
            await site.write(f"@{site.bot} {n}")
        (room,) = (await agent.call("list_unread"))["rooms"]
        assert (room["room"], room["unread"], room["mentions"]) == (site.room, 3, 3)
        mentions = await agent.call("list_mentions", limit=2)
        assert bodies(mentions) == [f"@{site.bot} 2", f"@{site.bot} 1"]
        older = await agent.call("list_mentions", limit=2, before=mentions["cursor"])
        assert (bodies(older), older.get("cursor")) == ([f"@{site.bot} 0"], None)
        assert await agent.call("mark_read", room=site.room, seq=3) == {"room": site.room, "seq": 3}
        assert await agent.text("list_unread") == "Nothing is unread."

    shared.run(connection, use)


@both
def test_a_search_finds_the_newest_first_in_one_room_or_in_all(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        for n in range(3):
            await site.write(f"deploy {n}")
            await site.write("other")
        await site.write("deploy in dev", f"{site.room}.dev")
        for room, expected in ((site.room, []), (None, ["deploy in dev"])):
            given = {"text": "DEPLOY"} | ({"room": room} if room else {})
            first = await agent.call("search_messages", **given, limit=2)
            second = await agent.call("search_messages", **given, limit=2, before=first["cursor"])
            found = bodies(first) + bodies(second)
            assert found == [*expected, "deploy 2", "deploy 1", "deploy 0"]
            assert second.get("cursor") is None
        assert f"{site.room}.dev #1 " in await agent.text("search_messages", text="deploy in")

    shared.run(connection, use)


@both
def test_a_message_with_a_key_is_stored_once(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        first = await agent.call("post_message", room=site.room, text="deployed", key="d-7", data={"version": 7})
        again = await agent.call("post_message", room=site.room, text="deployed", key="d-7", data={"version": 7})
        assert (first["repeat"], again) == (False, first | {"repeat": True})
        assert await agent.code("post_message", room=site.room, text="something else", key="d-7") == "key-conflict"
        page = await agent.call("read_messages", room=site.room, after=0)
        assert bodies(page) == ["deployed"]
        assert page["cursor"] == first["cursor"]

    shared.run(connection, use)


@both
def test_an_agent_has_the_rights_of_its_token_and_no_others(shared: Shared, connection: str) -> None:
    async def use(site: Site, agent: Agent) -> None:
        for room in (site.room, site.other):
            await site.write(f"hello @{site.bot}", room)
        assert [room["room"] for room in (await agent.call("list_rooms"))["rooms"]] == [site.room]
        assert bodies(await agent.call("search_messages", text="hello")) == [f"hello @{site.bot}"]
        assert bodies(await agent.call("list_mentions")) == [f"hello @{site.bot}"]
        for tool in ("read_messages", "wait_for_messages"):
            assert await agent.code(tool, room=site.other) == "not-found"
        assert await agent.code("search_messages", room=site.other, text="hello") == "not-found"
        assert await agent.code("mark_read", room=site.other, seq=1) == "not-found"
        assert await agent.code("read_messages", room=".audit") == "not-found"
        for room, code in ((site.room, "forbidden"), (site.other, "not-found")):
            assert await agent.code("post_message", room=room, text="x") == code
            assert await agent.code("reply", room=room, seq=1, text="x") == code
            assert await agent.code("react", room=room, seq=1, emoji="👍") == code

    shared.run(connection, use, "read")
