"""Who speaks, in the terminal: marks of senders, the name of a token, and refusals with their next step."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_display import KeptScreen, context_of
from cli_process import Shell
from page_access import WRITE, TokenServer, token_server

from chatkit.cli.chat.room_display import RoomDisplay
from chatkit.cli.formats import markdown, text_line
from chatkit.cli.marks import ASCII, UNICODE, Marks, sender_of
from chatkit.cli.next_steps import with_next_step
from chatkit.client import Joined, RoomChanged
from chatkit.core.model import Member, Message
from chatkit.errors import Banned, ChatkitError, Forbidden, NameTaken, NotFound, Unauthorized


def message(sender: str, *, verified: bool = False, bot: bool = False) -> Message:
    return Message("ops", "e", 1, 0, sender, "hi", verified=verified, bot=bot)


@pytest.mark.parametrize(
    ("sent", "marks", "shown"),
    [
        (message("ann"), UNICODE, ("ann", "")),
        (message("ann", verified=True), UNICODE, ("ann", "✓")),
        (message("deploy", verified=True, bot=True), UNICODE, ("deploy", "✓⚙")),
        (message("deploy", verified=True, bot=True), ASCII, ("deploy", "+*")),
        (message("ann✓"), UNICODE, ("ann?", "")),
        (message("ann⚙✓✓", verified=True), UNICODE, ("ann???", "✓")),
        (message("ann+"), ASCII, ("ann?", "")),
        (message("c++"), UNICODE, ("c++", "")),
    ],
)
def test_a_sender_has_marks_that_no_name_can_imitate(sent: Message, marks: Marks, shown: tuple[str, str]) -> None:
    assert sender_of(sent, marks) == shown


def test_text_and_markdown_show_the_marks() -> None:
    bot = message("deploy", verified=True, bot=True)
    assert text_line(bot).endswith(" deploy✓⚙: hi")
    assert text_line(bot, ASCII).endswith(" deploy+*: hi")
    assert markdown(bot).startswith("**deploy**✓⚙ ")


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (Unauthorized("this server needs a token"), "--token or in CHATKIT_TOKEN"),
        (NameTaken("ann"), "--name NAME or --token TOKEN"),
        (Banned("spam"), "ask a moderator"),
        (Forbidden("no"), "ask a moderator"),
        (NotFound("there is no room 'ops'"), "chatkit rooms"),
    ],
)
def test_a_refusal_has_a_next_step(error: ChatkitError, step: str) -> None:
    assert with_next_step(error).startswith(f"{error} (")
    assert step in with_next_step(error)


@pytest.mark.parametrize(
    ("joined", "notes"),
    [
        (Joined("ops", "e", 1, 0, [], 1), []),
        (Joined("ops", "e", 1, 0, [], 1, ["read", "write"], "deploys\x1b[2J"), ["topic: deploys␛[2J"]),
        (
            Joined("ops", "e", 1, 0, [], 1, ["read"]),
            ["you can read this room, but not write to it: ask a moderator for the right"],
        ),
        (
            Joined("ops", "e", 1, 0, [], 1, ["read"], archived=True),
            ["this room is archived: it can be read, but not written"],
        ),
    ],
)
def test_a_joined_room_has_notes_on_what_may_be_done(joined: Joined, notes: list[str]) -> None:
    screen = KeptScreen()
    RoomDisplay("ops", context_of(screen)).receive(joined)
    assert screen.notes[1:] == notes


def test_changed_settings_of_a_room_are_shown_once() -> None:
    screen = KeptScreen()
    display = RoomDisplay("ops", context_of(screen))
    display.receive(Joined("ops", "e", 1, 0, [], 1, topic="deploys"))
    screen.notes.clear()
    for item in (
        RoomChanged("ops", "deploys", archived=False),  # rights, or what is kept
        RoomChanged("ops", "on call\x1b[2J", archived=False),
        RoomChanged("ops", "on call\x1b[2J", archived=True),
        Joined("ops", "e", 1, 0, [], 1),  # changed while there was no connection
    ):
        display.receive(item)
    assert screen.notes == [
        "topic: on call␛[2J",
        "this room is archived: it can be read, but not written",
        "the room has no topic",
        "this room is not archived any more: it can be written again",
    ]


def test_the_members_of_a_joined_room_have_their_marks() -> None:
    screen = KeptScreen()
    members = [Member("ann", 0, verified=True), Member("bob✓", 0), Member("deploy", 0, verified=True, bot=True)]
    RoomDisplay("ops", context_of(screen)).receive(Joined("ops", "e", 1, 0, members, 3))
    assert screen.notes == ["ops: ann✓, bob?, deploy✓⚙ are here; type /help for help"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with token_server(tmp_path_factory.mktemp("identity")) as server:
        yield server


def test_the_name_of_the_token_wins_with_a_notice(server: TokenServer, tmp_path: Path) -> None:
    shell = Shell(tmp_path, server.url)
    shell.env |= {"CHATKIT_TOKEN": server.token("deploy", "ops", WRITE, kind="bot"), "PYTHONIOENCODING": "ascii"}
    notice = "chatkit: the token is deploy's: your messages have this name, not zed\n"
    for words, given in ((("publish", "ops", "one"), ""), (("publish", "ops"), "two\n")):
        shell.run(*words, "--name", "zed", given=given)
        assert shell.stderr == notice
    printed = shell.run("join", "ops", "--name", "zed", given="three\n").splitlines()
    assert shell.stderr == notice
    assert [line.split(" ", 2)[2] for line in printed] == [f"deploy+*: {body}" for body in ("one", "two", "three")]
    assert shell.run("history", "ops", "-n", "1").endswith(" deploy+*: three\n")
    shell.run("join", "hidden", status=1)
    assert shell.stderr.startswith("chatkit: there is no room 'hidden' ('chatkit rooms' lists the rooms")
