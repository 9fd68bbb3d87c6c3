"""A chat in one room, through a terminal or a pipe: shows its messages and publishes the lines of the input."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, nullcontext
from typing import Protocol, assert_never

from chatkit.cli.formats import body_lines, gap_sentence, text_line
from chatkit.cli.input import InputFailed
from chatkit.cli.marks import printable_marks, sender_of
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.output import needs_reader
from chatkit.cli.sanitize import one_line
from chatkit.cli.target import Target
from chatkit.cli.terminal import PipeInterface, Style, Terminal, can_edit, has_colour
from chatkit.cli.times import local_time
from chatkit.client import Client, ConnectionLost, ConnectionRestored, Item, Joined, Presence, Redacted, Signal, Typing
from chatkit.core.model import Cursor, Gap, Member, Message, Receipt
from chatkit.errors import BadInput, ChatkitError, RoomRenamed

MAX_NAMED = 12  # names in a note; the other members are only counted

HELP = """\
Enter sends the message, and Alt-Enter starts a new line in it. Pasted text is sent as one message.
The arrow keys and Ctrl-A, E, U, K and W edit the line. Up and Down recall earlier lines.
/who   list the people in the room
/quit  leave the room, like Ctrl-D
//...  send a message that begins with a slash"""


class ChatInterface(Protocol):
    """A terminal or a pipe. `is_interactive`: a person types, who may give commands and correct mistakes."""

    is_interactive: bool

    def show(self, text: str) -> None:
        """Print a message."""
        ...

    def note(self, text: str) -> None:
        """Print information for a person. A pipe does not print it."""
        ...

    def warn(self, text: str) -> None:
        """Print a warning."""
        ...

    def set_prompt(self, prompt: str) -> None:
        """Change the text before the input line. A pipe has none."""
        ...

    def lines(self) -> AsyncIterator[str]:
        """Iterate over the lines of the input."""
        ...


async def run_chat(target: Target, room: str, history: int) -> bool:
    """Chat in the room until the input ends. Return whether messages are missing in the output of a pipe."""
    style = Style(is_coloured=has_colour())
    async with target.client() as client, aclosing(client.follow(room, history=history, signals=True)) as items:
        first = await anext(items)  # an unavailable server or a refusal is reported before the terminal changes
        target.report_name(client.name)
        terminal = Terminal(_prompt(room), style) if can_edit() else None
        with needs_reader(), nullcontext() if terminal is None else terminal.raw_mode():
            chat = Chat(client, room, terminal or PipeInterface(), style)
            chat.receive(first)
            await chat.run(items)
    return chat.has_gap and terminal is None


class Chat:
    """One person or program in a room."""

    def __init__(self, client: Client, room: str, interface: ChatInterface, style: Style) -> None:
        self.has_gap = False
        self._client = client
        self._room = room
        self._interface = interface
        self._style = style
        self._marks = printable_marks()
        self._has_joined = False
        self._present: set[str] = set()  # at most 200, as the server lists; changes in larger rooms have no names
        self._pending: set[asyncio.Future[Receipt]] = set()  # of sent messages that are not stored yet
        self._epoch = ""  # of the log that is followed
        self._last_stored: Cursor | None = None  # of the last message that this chat sent
        self._last_shown = Cursor("", 0)
        self._changed = asyncio.Event()  # for `_finish`: `_pending` or one of the two cursors has changed

    async def run(self, items: AsyncIterator[Item | Signal]) -> None:
        """Show the room's messages and publish the input, until the input ends."""
        receiving = asyncio.create_task(self._receive_all(items))
        publishing = asyncio.create_task(self._publish_input())
        try:
            done, _ = await asyncio.wait({receiving, publishing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            receiving.cancel()
            publishing.cancel()
            await asyncio.gather(receiving, publishing, return_exceptions=True)

    def receive(self, item: Item | Signal) -> None:
        """Show a message or an event of the room."""
        match item:
            case Message():
                self._interface.show(self._line(item))
                self._last_shown = item.cursor
                self._changed.set()
            case Gap():
                self._on_gap(item)
            case Joined():
                self._on_joined(item)
            case Presence():
                self._on_presence(item)
            case Redacted():
                self._interface.note(f"message {item.seq} was redacted")
            case ConnectionLost():
                self._interface.warn(f"{item.reason}; trying again")
                self._interface.note("what you send is kept until then")
            case ConnectionRestored():
                self._interface.warn("connected again")
            case Typing():
                pass  # a terminal that scrolls has no place for it
            case _:
                assert_never(item)

    def _on_gap(self, item: Gap) -> None:
        self.has_gap = True
        self._interface.warn(gap_sentence(item))
        if item.reason == "epoch":
            self._forget_last_stored(self._last_shown.epoch)
        self._last_shown = Cursor(self._epoch, item.before - 1)
        self._changed.set()

    def _forget_last_stored(self, epoch: str) -> None:
        """Stop waiting for a message of a log that was reset: it will not arrive."""
        if self._last_stored is not None and self._last_stored.epoch == epoch:
            self._last_stored = None
            self._changed.set()

    def _on_joined(self, item: Joined) -> None:
        self._present = {member.name for member in item.members}
        if item.epoch != self._epoch:  # a gap with the old epoch may not have arrived
            self._forget_last_stored(self._epoch)
            self._epoch = item.epoch
        if item.room != self._room:
            self._interface.warn(str(RoomRenamed(self._room, item.room)))
            self._room = item.room
            self._interface.set_prompt(_prompt(item.room))
        if not self._has_joined:  # later events follow a reconnection
            self._has_joined = True
            self._interface.note(f"{self._room}: {_present_sentence(item.members, item.count)}; type /help for help")
            for note in _room_notes(item):
                self._interface.note(note)

    def _on_presence(self, item: Presence) -> None:
        # Members that `joined` listed may be reported again, such as this person.
        self._note_presence([name for name in item.joined if name not in self._present], "joined")
        self._note_presence([name for name in item.left if name in self._present], "left")
        self._present = (self._present | {*item.joined}) - {*item.left}

    def _note_presence(self, names: Sequence[str], what: str) -> None:
        if names:
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            self._interface.note(f"{', '.join(map(one_line, names[:MAX_NAMED]))}{more} {what}")

    def _line(self, message: Message) -> str:
        if not self._interface.is_interactive:
            return text_line(message, self._marks)
        when = local_time(message.time_ms).strftime("%H:%M")
        name, marks = sender_of(message, self._marks)
        return f"{self._style.dim(when)} {self._style.name(name)}{marks}: {body_lines(message)}"

    async def _receive_all(self, items: AsyncIterator[Item | Signal]) -> None:
        async for item in items:
            self.receive(item)

    async def _publish_input(self) -> None:
        try:
            await self._publish_lines()
        except (BadInput, InputFailed):
            await self._finish()  # the lines before the one that failed are still being stored
            raise
        await self._finish()

    async def _publish_lines(self) -> None:
        async for line in self._interface.lines():
            if not self._interface.is_interactive:
                await self._publish(line)
            elif line == "/quit":
                break
            elif line.startswith("/") and not line.startswith("//"):
                await self._run_command(line)
            elif line.strip():
                await self._try_to_publish(line.removeprefix("/") if line.startswith("//") else line)

    async def _run_command(self, command: str) -> None:
        if command == "/help":
            self._interface.note(HELP)
        elif command == "/who":
            try:
                view = await self._client.room(self._room)
                members = await self._client.members(self._room)  # at most 200 by name
            except ChatkitError as error:
                self._interface.warn(str(error))
            else:
                self._interface.note(_present_sentence(members, max(view.members, len(members))))
        else:
            self._interface.warn(f"unknown command {command.split(maxsplit=1)[0]}; type /help for the list")

    async def _try_to_publish(self, line: str) -> None:
        try:
            await self._publish(line)
        except ChatkitError as error:
            self._interface.warn(f"not sent: {with_next_step(error)}")

    async def _publish(self, line: str) -> None:
        answer = await self._client.submit(self._room, line, follow_rename=True)
        self._pending.add(answer)
        answer.add_done_callback(self._on_answer)

    def _on_answer(self, answer: asyncio.Future[Receipt]) -> None:
        self._pending.discard(answer)
        if answer.cancelled():
            return
        if error := answer.exception():
            reason = with_next_step(error) if isinstance(error, ChatkitError) else str(error)
            self._interface.warn(f"not stored: {reason}")
        else:
            # The answer may come before the event that the log was reset. Numbers of different logs are not comparable.
            at = answer.result().message.cursor
            if self._last_stored is None or self._last_stored.epoch != at.epoch or self._last_stored.seq < at.seq:
                self._last_stored = at
        self._changed.set()

    async def _finish(self) -> None:
        """Wait until all sent messages are stored and, in a pipe, also shown."""
        if self._pending and self._interface.is_interactive:
            self._interface.warn("waiting until everything is stored; press Ctrl-C to leave at once")
        while self._pending or not (self._interface.is_interactive or self._has_shown_all):
            self._changed.clear()
            await self._changed.wait()

    @property
    def _has_shown_all(self) -> bool:
        """Whether all stored messages of this chat have been shown."""
        stored, shown = self._last_stored, self._last_shown
        return stored is None or (stored.epoch == shown.epoch and stored.seq <= shown.seq)


def _prompt(room: str) -> str:
    return f"{room}> "


def _room_notes(item: Joined) -> list[str]:
    """Return what a person has to know about the room, apart from who is there."""
    notes = [f"topic: {one_line(item.topic)}"] if item.topic else []
    if item.archived:
        notes.append("this room is archived: it can be read, but not written")
    elif item.rights is not None and "write" not in item.rights:
        notes.append("you can read this room, but not write to it: ask a moderator for the right")
    return notes


def _present_sentence(members: Sequence[Member], count: int) -> str:
    names = [one_line(member.name) for member in members[:MAX_NAMED]]
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return f"{', '.join(names)}{more} {'is' if count == 1 else 'are'} here" if names else f"{count} are here"
