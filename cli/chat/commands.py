"""The commands that a person types in a chat: a word after `/` at the start of a line. No I/O."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from chatkit.cli.chat.wrapping import wrapped
from chatkit.core.emoji import check_emoji
from chatkit.core.model import MAX_SEQ
from chatkit.errors import BadRequest


class CommandName(StrEnum):
    """What a line asks for. A line without a command is a message."""

    SAY = "say"  # a message: it has no slash
    ME = "me"
    NICK = "nick"
    REPLY = "reply"
    EDIT = "edit"
    REACT = "react"
    UNREACT = "unreact"
    REDACT = "redact"
    SEARCH = "search"
    TOPIC = "topic"
    WHO = "who"
    HELP = "help"
    QUIT = "quit"


class Usage(NamedTuple):
    """What a command takes, and what it does. Brackets mark what may be left out; an empty string is not taken."""

    number: str  # of a message: "N"
    text: str
    help: str

    @property
    def arguments(self) -> str:
        return f"{self.number} {self.text}".strip()


class ChatCommand(NamedTuple):
    """What a line asks for. `seq` is the number of a message; `text` is the rest of the line."""

    name: CommandName
    text: str = ""
    seq: int | None = None


COMMANDS: Final[Mapping[CommandName, Usage]] = {
    CommandName.ME: Usage("", "TEXT", "say what you are doing"),
    CommandName.REPLY: Usage("N", "TEXT", "answer message #N"),
    CommandName.EDIT: Usage("[N]", "TEXT", "give your message #N, or your last one, another text"),
    CommandName.REACT: Usage("N", "EMOJI", "put an emoji, such as 👍 or :tada:, to message #N"),
    CommandName.UNREACT: Usage("N", "EMOJI", "take your emoji back"),
    CommandName.REDACT: Usage("N", "", "remove message #N for good"),
    CommandName.SEARCH: Usage("", "TEXT", "search the room"),
    CommandName.TOPIC: Usage("", "[TEXT]", "show or change the room's topic"),
    CommandName.NICK: Usage("", "NAME", "change your name"),
    CommandName.WHO: Usage("", "", "list the people in the room"),
    CommandName.HELP: Usage("", "", "show this help"),
    CommandName.QUIT: Usage("", "", "leave the room, like Ctrl-D"),
}

_KEYS: Final = (
    "Enter sends the message, and Alt-Enter starts a new line in it. Pasted text is sent as one message.",
    "The arrow keys and Ctrl-A, E, U, K and W edit the line. Up and Down recall earlier lines.",
    "Tab completes names, commands and numbers of messages. Ctrl-C clears the line and, if it is empty, leaves.",
)
_USAGE_CELLS: Final = 18  # of the longest command with its arguments
MIN_COLUMNS_CELLS: Final = 34  # of a note: less would leave fewer than 15 cells for what a command does

_COMMAND: Final = re.compile(r"/(\S*)\s*")
_NUMBER: Final = re.compile(r"#?(\d{1,18})(?:\s+|$)", re.ASCII)


def help_text(width: int) -> str:
    """Return what keys and commands do, for notes of `width` cells: the commands in two columns if there is space."""
    commands = [(f"/{name} {usage.arguments}", usage.help) for name, usage in COMMANDS.items()]
    commands.append(("//...", "send a message that begins with a slash"))
    if width < MIN_COLUMNS_CELLS:
        return "\n".join((*_KEYS, *(f"{usage.rstrip()}: {text}" for usage, text in commands)))
    indent = " " * (_USAGE_CELLS + 1)
    rows = (row for usage, text in commands for row in wrapped(text, width, f"{usage:<{_USAGE_CELLS}} ", indent))
    return "\n".join((*_KEYS, *rows))


def parse_line(line: str) -> ChatCommand:
    """Return what a line asks for. Raise `BadRequest` for a command that does not exist or lacks an argument."""
    match = _COMMAND.match(line)
    if match is None or line.startswith("//"):
        return ChatCommand(CommandName.SAY, line if match is None else line.removeprefix("/"))
    name = next((each for each in COMMANDS if each == match[1]), None)
    if name is None:
        raise BadRequest(
            f"unknown command /{match[1]}; type /help for the list, or // to send a message that begins with a slash"
        )
    return _parse_arguments(name, line[match.end() :].rstrip())


def _parse_arguments(name: CommandName, text: str) -> ChatCommand:
    usage = COMMANDS[name]
    number = _NUMBER.match(text) if usage.number else None
    if number is not None:
        text = text[number.end() :]
    lacks_number = usage.number == "N" and number is None
    lacks_text = not text and usage.text.isalpha()
    if lacks_number or lacks_text or (text and not usage.text):
        raise BadRequest(f"usage: /{name} {usage.arguments}".rstrip())
    if name in (CommandName.REACT, CommandName.UNREACT):
        check_emoji(text)
    return ChatCommand(name, text, None if number is None else min(int(number[1]), MAX_SEQ))
