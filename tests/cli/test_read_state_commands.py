"""`chatkit unread` and `mentions`, and a search of all rooms: on a store, and the same through a server."""

import asyncio
from pathlib import Path

import pytest
from cli_runner import CommandRunner
from harness import run
from in_process import serve_in_process

from chatkit.backends import open_backend
from chatkit.core import slices
from chatkit.core.model import Draft

STORE = "sqlite:///rooms.db"


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    runner = CommandRunner(tmp_path, monkeypatch, "--backend", STORE)
    runner.run("token", "add", "carol", "--write", "*")
    return runner


def check_commands(chatkit: CommandRunner) -> None:
    """Run the commands of carol, in rooms that do not exist yet."""
    assert chatkit.run("unread") == ""
    assert chatkit.stderr == "chatkit: nothing is unread\n"
    chatkit.run("publish", "ops", "deploy 1", "--name", "ann")
    assert chatkit.run("unread", "ops") == ""
    assert chatkit.stderr == (
        "chatkit: you have not marked ops as read yet, which starts the count: chatkit unread ops --mark-read\n"
    )
    assert chatkit.json("unread", "#ops", "--mark-read") == {"room": "ops", "seq": 1}
    chatkit.run("publish", "ops", "deploy 2", "--name", "ann")
    chatkit.run("publish", "dev", "deploy 3", "--name", "bob")
    assert chatkit.run("unread").splitlines() == [
        "ROOM  UNREAD  MENTIONS  READ UP TO",
        "ops   1       0         1",
    ]
    (hit, *others) = chatkit.run("history", "--search", "DEPLOY").splitlines()
    assert hit.endswith(" ops ann: deploy 1")
    assert [line.split(" ", 2)[2] for line in others] == ["ops ann: deploy 2", "dev bob: deploy 3"]
    assert [row["room"] for row in chatkit.rows("history", "--search", "deploy", "-n", "1")] == ["dev"]
    chatkit.run("unread", "--mark-read")
    assert chatkit.stderr == "chatkit: you have read ops up to message 2\n"
    assert chatkit.run("unread") == ""
    assert chatkit.stderr == "chatkit: nothing is unread\n"
    assert chatkit.run("unread", "ops").splitlines()[1] == "ops   0       0         2"
    chatkit.run("unread", "--mark-read")
    assert chatkit.stderr == "chatkit: nothing is unread\n"
    assert chatkit.refused("unread", "nosuch", "--mark-read", status=1).startswith("the room 'nosuch' has no messages")


def test_rooms_of_a_store_are_counted_marked_and_searched(chatkit: CommandRunner) -> None:
    check_commands(chatkit)


def test_rooms_of_a_server_are_counted_marked_and_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serve_in_process() as server:
            chatkit = CommandRunner(tmp_path, monkeypatch, "--server", server.url)
            await asyncio.to_thread(check_commands, chatkit)

    run(main())


def test_mentions_are_listed_newest_first(chatkit: CommandRunner) -> None:
    assert chatkit.run("mentions") == ""
    assert chatkit.stderr == "chatkit: nobody has mentioned you\n"
    for n in range(3):
        chatkit.run("publish", "ops", f"@carol look at {n}", "--name", "ann")
    assert [line.split(" ", 2)[2] for line in chatkit.run("mentions", "-n", "2").splitlines()] == [
        "ops ann: @carol look at 2",
        "ops ann: @carol look at 1",
    ]
    assert [row["seq"] for row in chatkit.rows("mentions")] == [3, 2, 1]
    assert chatkit.run("unread").splitlines()[1].split() == ["ops", "3", "3", "0"]


def test_a_search_and_a_list_of_mentions_are_read_page_by_page(
    chatkit: CommandRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SEARCH_S", 60.0)  # rooms that are not searched in time are in another order

    async def publish() -> None:
        async with open_backend(f"sqlite:///{tmp_path / 'rooms.db'}") as backend:
            # In one batch, which has one time: rooms and numbers order what has the same time.
            rooms = [Draft(f"room-{room}", "ann", "@carol", mentions=("carol",)) for room in range(50)]
            await backend.append(rooms * 6)

    run(publish())
    for words in (["history", "--search", "@CAROL"], ["mentions"]):
        rows = chatkit.rows(*words, "-n", "0")
        assert len({(row["room"], row["seq"]) for row in rows}) == len(rows) == 300
        newest = chatkit.rows(*words, "-n", "150")
        assert newest == (rows[-150:] if words[0] == "history" else rows[:150])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["unread", "--up-to", "3"], "--up-to is a number of one room"),
        (["unread", "ops", "--up-to", "3"], "--up-to is a number of one room"),
        (["unread", "ops", "dev", "--mark-read", "--up-to", "3"], "--up-to is a number of one room"),
        (["unread", "a b"], "a room is 1 to 64"),
        (["history"], "give a ROOM ('chatkit rooms' lists them), or search all rooms with --search TEXT"),
        (["history", "--search", "x", "--since", "2h"], "--since is for one room: give a ROOM before --search"),
        (["history", "--search", "x", "--follow"], "--follow is for one room"),
    ],
)
def test_wrong_usage_is_explained(chatkit: CommandRunner, words: list[str], why: str) -> None:
    assert chatkit.refused(*words).startswith(why)
