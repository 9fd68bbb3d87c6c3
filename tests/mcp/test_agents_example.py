"""`examples/agents`: two agents do what a person asks for, and stop when they only talk to each other."""

from importlib import import_module
from pathlib import Path

import pytest
from access_server import access_server, grant
from raw_client import run

from chatkit.core.token import TokenKind

FOLDER = Path(__file__).parents[2] / "examples" / "agents"


def test_two_agents_and_a_person_talk_until_the_server_stops_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    conversation = import_module("conversation")

    shown: list[str] = []

    async def test() -> None:
        async with access_server(host="localhost", secret="eight-or-more", bot_limit=conversation.BOT_LIMIT) as server:
            kinds = {"planner": TokenKind.BOT, "worker": TokenKind.BOT, "ann": TokenKind.PERSON}
            tokens = {
                name: (await server.token(name, grant(conversation.ROOM, "read", "write"), kind=kind)).secret
                for name, kind in kinds.items()
            }
            await conversation.converse(server.url, tokens, shown.append)

    run(test())
    lines = [line.strip() for line in shown]
    for step in conversation.STEPS:
        assert f"planner @worker please {step}" in lines
        assert f"worker @planner done: {step}" in lines
    assert lines.index("planner @ann everything is done") > lines.index("worker @planner done: release it")
    (refused,) = (line for line in lines if "refused" in line)
    assert "bot-loop" in refused
    discussion = lines[lines.index("ann @planner which colour should it have?") + 1 :]
    assert discussion[-1] == "ann stop it, I decide: red"
    assert sum(line.startswith(("planner", "worker")) for line in discussion) == conversation.BOT_LIMIT
