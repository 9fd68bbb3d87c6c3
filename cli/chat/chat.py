"""A chat in one room, through a terminal or a pipe: publishes the lines of the input and carries out commands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Final, assert_never

from chatkit.cli.chat.commands import ChatCommand, CommandName, help_text, parse_line
from chatkit.cli.chat.context import ChatContext
from chatkit.cli.chat.notes import present_sentence
from chatkit.cli.chat.room_connection import RoomConnection
from chatkit.cli.chat.room_display import RoomDisplay
from chatkit.cli.chat.transcript import ACTION
from chatkit.cli.history_reader import HistoryReader, Selection
from chatkit.cli.input import InputFailed
from chatkit.cli.marks import printable_marks
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.sanitize import one_line
from chatkit.cli.target import Target
from chatkit.client.daemon_call import call_in_daemon
from chatkit.core.message_state import Act
from chatkit.core.model import Message, check_sender
from chatkit.core.text import check_search
from chatkit.errors import BadInput, BadRequest, ChatkitError
from chatkit.wire.access import RoomSettingsChange
from chatkit.wire.http import RoomView

MAX_FOUND: Final = 20  # messages that a search shows: about a screen
TYPING_EVERY_S: Final = 3.0  # between two notifications that this person is typing

_ACTS: Final = {
    CommandName.EDIT: Act.EDIT,
    CommandName.REACT: Act.REACT,
    CommandName.UNREACT: Act.UNREACT,
    CommandName.REDACT: Act.REDACT,
}


class Chat:
    """One person or program in a room."""

    def __init__(self, target: Target, room: str, connection: RoomConnection, context: ChatContext) -> None:
        self.display = RoomDisplay(room, context)
        self._target = target
        self._connection = connection
        self._context = context
        self._interface = context.interface
        self._publisher = context.publisher
        self._receiving: asyncio.Task[None] | None = None
        self._notifying: asyncio.Task[None] | None = None  # sends that this person is typing
        self._notified_at = -TYPING_EVERY_S

    async def run(self) -> None:
        """Show the room's messages and publish the input, until the input ends. Close the connection."""
        publishing = asyncio.create_task(self._publish_input())
        try:
            while not publishing.done():
                receiving = self._receiving = asyncio.create_task(self._receive_all(self._connection))
                await asyncio.wait({receiving, publishing}, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done() and not receiving.cancelled():  # it was cancelled if there is a new connection
                    receiving.result()
            publishing.result()
        finally:
            tasks = [task for task in (self._receiving, publishing, self._notifying) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._connection.close()

    def on_edit(self, text: str) -> None:
        """Notify the others, at most every few seconds, that this person is typing. A command is not a message."""
        now = asyncio.get_running_loop().time()
        is_sent = self._notifying is not None and not self._notifying.done()
        if is_sent or now - self._notified_at < TYPING_EVERY_S or (text.startswith("/") and not text.startswith("//")):
            return
        self._notified_at = now
        self._notifying = asyncio.create_task(self._notify_typing())

    async def _notify_typing(self) -> None:
        with suppress(ChatkitError):
            await self._connection.client.typing(self.display.room)

    async def _receive_all(self, connection: RoomConnection) -> None:
        self.display.receive(connection.first)
        async for item in connection.items:
            self.display.receive(item)

    async def _publish_input(self) -> None:
        try:
            await self._publish_lines(self._interface.lines())
        except (BadInput, InputFailed):
            await self._publisher.finish()  # the lines before the one that failed are still being stored
            raise
        await self._publisher.finish()

    async def _publish_lines(self, lines: AsyncIterator[str]) -> None:
        async for line in lines:
            if not self._interface.is_interactive:
                await self._publisher.publish(self._connection.client, self.display.room, line)
            elif line.strip():
                try:
                    command = parse_line(line)
                    if command.name is CommandName.QUIT:
                        break
                    await self._carry_out(command)
                except ChatkitError as error:
                    self._interface.warn(with_next_step(error))

    async def _carry_out(self, command: ChatCommand) -> None:
        match command.name:
            case (
                CommandName.SAY
                | CommandName.ME
                | CommandName.REPLY
                | CommandName.EDIT
                | CommandName.REACT
                | CommandName.UNREACT
                | CommandName.REDACT
            ):
                await self._send(command)
            case CommandName.SEARCH:
                await self._search(command.text)
            case CommandName.TOPIC:
                await self._topic(command.text)
            case CommandName.WHO:
                await self._who()
            case CommandName.NICK:
                await self._rename(command.text)
            case CommandName.HELP:
                self._interface.note(help_text(self._interface.note_width))
            case CommandName.QUIT:
                pass  # ends the input
            case _:
                assert_never(command.name)

    async def _send(self, command: ChatCommand) -> None:
        of, act = command.seq, _ACTS.get(command.name)
        if act is Act.EDIT and of is None:
            of = self._last_own()
        body = f"{ACTION}{command.text}" if command.name is CommandName.ME else command.text
        try:
            await self._publisher.publish(self._connection.client, self.display.room, body, of=of, act=act)
        except ChatkitError as error:
            self._interface.warn(f"not sent: {with_next_step(error)}")

    def _last_own(self) -> int:
        if self._publisher.sent.waiting:
            raise BadRequest("your last line is not stored yet: edit it when it is")
        seq = self._context.recent.last_of(self._context.people.name)
        if seq is None:
            raise BadRequest("none of your messages is known here: type /edit N TEXT")
        return seq

    async def _search(self, text: str) -> None:
        selection = Selection(room=self.display.room, search=check_search(text), count=MAX_FOUND)
        reader = HistoryReader(self._connection.client, selection)
        messages = [item async for item in reader.read() if isinstance(item, Message)]
        count = len(messages)
        which = f"{count} {'message' if count == 1 else 'messages'}"
        which = which if reader.left_out is None else f"the newest {which}"
        self._interface.note(f"{which} with {text!r}{':' if count else ''}")
        if not count:
            return
        self._interface.show(self._context.transcript.listing(messages, self._interface.width))
        self._interface.note("end of the search")

    async def _topic(self, text: str) -> None:
        room, before = self.display.room, self.display.topic
        if text:
            view = await call_in_daemon(partial(self._set_topic, room, text))
        else:
            view = await self._connection.client.room(room)
        if self.display.topic == before:  # the room's event may have come first
            self.display.show_topic(view.topic)

    def _set_topic(self, room: str, text: str) -> RoomView:
        with self._target.administrator() as administrator:
            return administrator.set_room(room, RoomSettingsChange(topic=text))

    async def _who(self) -> None:
        client = self._connection.client
        view = await client.room(self.display.room)
        members = await client.members(self.display.room)  # at most 200 by name
        self._interface.note(present_sentence(members, max(view.members, len(members)), printable_marks()))

    async def _rename(self, name: str) -> None:
        """Connect again with another name. With a token, the name stays that of the token."""
        if not self._publisher.sent.all_stored:
            raise BadRequest("some lines are not stored yet: change the name when they are")
        before, self._target.name = self._target.name, check_sender(name)
        try:
            connection = await RoomConnection.open(
                self._target,
                self.display.room,
                after=self._publisher.sent.last_shown if self._publisher.sent.last_shown.epoch else None,
            )
        except ChatkitError:
            self._target.name = before
            raise
        self._context.people.name = connection.client.name
        await self._replace(connection)
        if connection.client.name == self._target.name:
            self._interface.note(f"you are {one_line(connection.client.name)} now")
        else:
            self._interface.warn(f"the token is {one_line(connection.client.name)}'s: your name stays that")

    async def _replace(self, connection: RoomConnection) -> None:
        """Continue with another connection."""
        old, self._connection = self._connection, connection
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        await old.close()
