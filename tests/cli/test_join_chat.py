"""`chatkit join` in a real terminal: commands, other people, and a server that goes away."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from serving import ServerProcess, clean_environment, serve
from stored_messages import bodies_of, publish
from tmux_screen import PATIENCE_S, Screen, open_screen
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from chatkit.backends import open_backend
from chatkit.core.access import EVERYTHING, Credential, Identity
from chatkit.core.hub import Hub

pytest_plugins = ["screen_fixtures"]

INDENT = " " * 15  # of the text in a terminal of 80 columns


def test_commands_are_run_and_explained(screen: Screen, server: ServerProcess) -> None:
    screen.join("commands")
    screen.type("/help", "Enter", "/who", "Enter", "/nonsense", "Enter", "//usr waves", "Enter")
    screen.shows("/quit", "-- ann is here\n", "unknown command /nonsense", "ann: /usr waves  #1")
    screen.type("/quit", "Enter")
    screen.shows("status 0")
    assert bodies_of(server.url, "commands") == ["/usr waves"]


def test_a_message_is_answered_corrected_and_redacted(screen: Screen, server: ServerProcess) -> None:
    publish(server.url, "relations", "shall we deploy?", "bob")
    screen.join("relations")
    screen.type("/rep", "Tab", "Tab")
    screen.row_is("relations> /reply 1")
    screen.type("yess", "Enter")
    screen.shows(f"ann: ↳ bob: shall we deploy?\n{INDENT}yess  #2")
    screen.type("/edit 2 yes", "Enter")
    screen.shows("* ann edited #2: yes")
    screen.type("/react 1 👍", "Enter")
    screen.shows("* 👍 ann on #1 (bob: shall we deploy?)")
    screen.type("/react 1 👍", "Enter", "/search deploy", "Enter")
    screen.shows("-- nothing to change: that was so already", "-- 1 message with 'deploy':")
    screen.type("/topic deploys", "Enter", "/nick zoë", "Enter")
    screen.shows("-- topic: deploys", "-- you are zoë now")
    assert screen.all_rows().count("-- topic: deploys") == 1
    screen.type("/me waves", "Enter")
    screen.shows("* zoë waves  #5")


def test_typing_is_shown_and_sent(screen: Screen, server: ServerProcess) -> None:
    screen.join("typing")
    with connect(f"{server.ws_url}/ws/typing?name=bob", subprotocols=[Subprotocol("chatkit.v1")]) as bob:
        bob.send('{"op":"join","room":"typing"}')
        bob.send('{"op":"typing","room":"typing"}')
        screen.row_is("typing>" + " " * 59 + "bob is typing")
        screen.type("/who", "C-u", "h")
        events = (json.loads(bob.recv(PATIENCE_S)) for _ in range(100))
        assert next(event["sender"] for event in events if event["type"] == "typing") == "ann"
        screen.row_is("typing> h" + " " * 57 + "bob is typing")
        bob.send('{"op":"publish","room":"typing","body":"done"}')
        screen.shows("bob: done  #1")
        screen.row_is("typing> h")


def test_the_title_counts_unread_messages_and_is_set_back(screen: Screen, server: ServerProcess) -> None:
    screen.tmux("select-pane", "-T", "before")
    screen.join("title")
    for text in ("one", "two"):
        publish(server.url, "title", text, "bob")
    screen.wait_for(lambda: screen.title() == "(2) title")
    screen.type("x")
    screen.wait_for(lambda: screen.title() == "title")
    screen.type("BSpace", "C-d")
    screen.shows("status 0")
    assert screen.title() == "before"


def test_joining_and_leaving_members_are_shown(screen: Screen, server: ServerProcess) -> None:
    screen.join("presence")
    other = subprocess.Popen(
        [sys.executable, "-m", "chatkit.cli", "join", "presence", "--name", "bob", "--server", server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=clean_environment({}),
    )
    with other:
        screen.shows("-- bob joined")
        other.communicate(b"")
    screen.shows("-- bob left")


def test_a_restarted_server_is_reported_and_no_message_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with serve(folder / "rooms.db") as server, open_screen(tmp_path, server.url) as screen:
        screen.join("away")
        server.kill9()
        screen.shows("trying again\n-- what you send is kept until then")
        screen.type("sent while away", "Enter")
        screen.shows("     ann: sent while away\naway>")
        server.start()
        publish(server.url, "away", "back", "bob")
        screen.shows("connected again", "ann: sent while away  #", "bob: back")
        assert sorted(bodies_of(server.url, "away")) == ["back", "sent while away"]


def test_a_renamed_room_is_followed_with_all_lines_that_are_typed(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with serve(folder / "rooms.db") as server, open_screen(tmp_path, server.url) as screen:
        publish(server.url, "ops", "one", "bob")
        screen.join("ops")
        rename(server, "ops", "dev")
        screen.shows("-- the room 'ops' was renamed to 'dev'")
        screen.row_is("dev>")
        screen.type("two", "Enter", "/who", "Enter")
        screen.shows("ann: two", "-- ann is here\n")
        server.kill9()
        screen.shows("trying again")
        screen.type("three", "Enter", "four", "Enter", "half")
        rename(server, "dev", "lab")
        server.start()
        screen.shows("was renamed to 'lab'", "ann: three", "ann: four")
        screen.row_is("lab> half")
        assert bodies_of(server.url, "lab") == ["one", "two", "three", "four"]
        assert screen.all_rows().count("ann: ") == 3


def rename(server: ServerProcess, room: str, new: str) -> None:
    async def main() -> None:
        async with open_backend(server.store) as backend, Hub(backend) as hub:
            root = Identity("root", grants=EVERYTHING, credential=Credential.STORE)
            await hub.moderation.rename_room(root, room, new)

    asyncio.run(main())
