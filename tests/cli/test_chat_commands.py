"""The commands of a chat, and what Tab completes."""

import re

import pytest
from chat_display import entry

from chatkit.cli.chat.commands import COMMANDS, ChatCommand, CommandName, help_text, parse_line
from chatkit.cli.chat.completion import Completer
from chatkit.cli.chat.people import People
from chatkit.cli.chat.recent_messages import RecentMessages
from chatkit.errors import BadRequest


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("hello", ChatCommand(CommandName.SAY, "hello")),
        (" /me is no command", ChatCommand(CommandName.SAY, " /me is no command")),
        ("//usr/bin is a path", ChatCommand(CommandName.SAY, "/usr/bin is a path")),
        ("/me waves", ChatCommand(CommandName.ME, "waves")),
        ("/reply 42 yes\nit is", ChatCommand(CommandName.REPLY, "yes\nit is", 42)),
        ("/reply #42  yes ", ChatCommand(CommandName.REPLY, "yes", 42)),
        ("/edit 42 is the answer", ChatCommand(CommandName.EDIT, "is the answer", 42)),
        ("/edit the answer is 42", ChatCommand(CommandName.EDIT, "the answer is 42")),
        ("/react 42 👍", ChatCommand(CommandName.REACT, "👍", 42)),
        ("/unreact 42 :tada:", ChatCommand(CommandName.UNREACT, ":tada:", 42)),
        ("/redact #42", ChatCommand(CommandName.REDACT, "", 42)),
        ("/search two words", ChatCommand(CommandName.SEARCH, "two words")),
        ("/topic", ChatCommand(CommandName.TOPIC)),
        ("/topic deploys", ChatCommand(CommandName.TOPIC, "deploys")),
        ("/nick zoë", ChatCommand(CommandName.NICK, "zoë")),
        ("/who", ChatCommand(CommandName.WHO)),
        ("/help ", ChatCommand(CommandName.HELP)),
        ("/quit", ChatCommand(CommandName.QUIT)),
    ],
)
def test_a_line_is_a_message_or_a_command(line: str, command: ChatCommand) -> None:
    assert parse_line(line) == command


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/nonsense", "unknown command /nonsense; type /help for the list"),
        ("/usr/bin", "or // to send a message that begins with a slash"),
        ("/", "unknown command /;"),
        ("/say hi", "unknown command /say"),
        ("/reply", "usage: /reply N TEXT"),
        ("/reply yes", "usage: /reply N TEXT"),
        ("/reply 42", "usage: /reply N TEXT"),
        ("/reply 42nd floor", "usage: /reply N TEXT"),
        ("/edit 42", "usage: /edit [N] TEXT"),
        ("/redact", "usage: /redact N"),
        ("/redact 42 because", "usage: /redact N"),
        ("/react 42 fine", "a reaction is one emoji"),
        ("/who else", "usage: /who"),
    ],
)
def test_a_wrong_command_is_explained(line: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(sentence)):
        parse_line(line)


def test_the_help_lists_every_command() -> None:
    assert all(f"\n/{name} " in help_text(80) for name in COMMANDS)


def test_the_help_stays_in_its_columns() -> None:
    rows = help_text(36).split("\n")
    at = rows.index("/react N EMOJI     put an emoji,")
    assert rows[at + 1 : at + 3] == [" " * 19 + "such as 👍 or", " " * 19 + ":tada:, to"]
    assert "/react N EMOJI: put an emoji, such as 👍 or :tada:, to message #N\n" in help_text(30)


@pytest.fixture
def completer() -> Completer:
    people, recent = People("ann"), RecentMessages()
    people.present = {"ann", "bob", "Bert", "Zoë the great"}
    for message in (
        entry(1, "ann", "mine"),
        entry(2, "bob", "his"),
        entry(3, "bert", "who left"),
        entry(4, "ann", "x"),
    ):
        recent.add(message)
        people.spoke(message.sender)
    return Completer(people, recent)


@pytest.mark.parametrize(
    ("text", "start", "texts"),
    [
        ("hi @B", 3, ("@bert ", "@bob ", "@Bert ")),  # who has written last comes first
        ("@zo", 0, ("@Zoë the great ",)),
        ("@zoë the", 0, ("@Zoë the great ",)),
        ("bo", 0, ("@bob ",)),
        ("", 0, ()),
        ("no bo", 0, ()),
        ("mail to bob@b", 0, ()),
        ("/re", 0, ("/reply ", "/react ", "/redact ")),
        ("/quit", 0, ("/quit ",)),
        ("//b", 0, ()),
        ("/reply ", 7, ("3 ", "2 ")),
        ("/edit ", 6, ("4 ", "1 ")),
        ("/redact 1", 8, ("1 ",)),
        ("/react 3 ", 9, ("👍", "❤️", "😂", "🎉", "👀", "✅")),
        ("/reply 3 @bo", 9, ("@bob ",)),
        ("/me and @bo", 8, ("@bob ",)),
    ],
)
def test_tab_completes_names_commands_and_numbers(
    completer: Completer, text: str, start: int, texts: tuple[str, ...]
) -> None:
    found = completer.complete(text)
    assert found.texts == texts
    assert not texts or found.start == start
