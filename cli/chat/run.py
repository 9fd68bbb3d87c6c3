"""Starts a chat: connects, and chooses between the terminal and the pipe."""

import os
from contextlib import nullcontext

from chatkit.cli.chat.chat import Chat
from chatkit.cli.chat.completion import Completer
from chatkit.cli.chat.context import ChatContext
from chatkit.cli.chat.interface import PipeInterface
from chatkit.cli.chat.people import People
from chatkit.cli.chat.recent_messages import RecentMessages
from chatkit.cli.chat.room_connection import RoomConnection
from chatkit.cli.chat.style import Style, palette_of
from chatkit.cli.output import has_colour, needs_reader
from chatkit.cli.target import Target
from chatkit.cli.terminal import Terminal, can_edit


async def run_chat(target: Target, room: str, history: int) -> bool:
    """Chat in the room until the input ends. Return whether messages are missing in the output of a pipe."""
    # An unavailable server or a refusal is reported before the terminal changes.
    connection = await RoomConnection.open(target, room, history=history)
    target.report_name(connection.client.name)
    style = Style(is_coloured=has_colour(), palette=palette_of(os.environ))
    people, recent = People(connection.client.name), RecentMessages()
    terminal = Terminal(room, style, Completer(people, recent).complete) if can_edit() else None
    context = ChatContext.of(terminal or PipeInterface(), style, people, recent)
    chat = Chat(target, room, connection, context)
    with needs_reader(), nullcontext() if terminal is None else terminal.raw_mode(chat.on_edit):
        await chat.run()
    return chat.display.has_gap and terminal is None
