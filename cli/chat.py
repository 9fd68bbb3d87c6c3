"""A conversation: what is said in a room is shown, what is typed is said. For a terminal and for a pipe."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, nullcontext
from typing import Protocol, assert_never

from chatkit.cli.formats import body_lines, gap_sentence, text_line
from chatkit.cli.input import InputFailed
from chatkit.cli.options import Target
from chatkit.cli.output import needs_reader
from chatkit.cli.sanitize import one_line
from chatkit.cli.terminal import PipeInterface, Style, Terminal, can_edit, has_colour
from chatkit.cli.times import local_time
from chatkit.client import Client, ConnectionLost, ConnectionRestored, Item, Joined, Presence, Redacted, Signal, Typing
from chatkit.core.model import Cursor, Gap, Member, Message, Receipt
from chatkit.errors import BadInput, ChatkitError

MAX_NAMED = 12  # of those who are here when one joins; the rest is a number

HELP = """\
Enter sends. Alt-Enter begins a new line; pasted text stays together. Arrows, Ctrl-A, E, U, K and W edit.
/who   who is here
/quit  leave, as Ctrl-D does
//...  say something that begins with a slash"""


class ChatInterface(Protocol):
    """Where a conversation is read and typed. `is_typed_at`: by a person, who may give commands and err."""

    is_typed_at: bool

    def show(self, text: str) -> None:
        """Print what was said."""
        ...

    def note(self, text: str) -> None:
        """Print what is good to know."""
        ...

    def warn(self, text: str) -> None:
        """Print what one should know."""
        ...

    def lines(self) -> AsyncIterator[str]:
        """Yield what is typed, line by line."""
        ...


async def converse(place: Target, room: str, history: int) -> bool:
    """Be in the room until the input ends; return whether a pipe missed messages."""
    style = Style(is_coloured=has_colour())
    async with place.client() as client, aclosing(client.follow(room, history=history, signals=True)) as items:
        first = await anext(items)  # a server that is not there, or says no, is known before the terminal is taken
        terminal = Terminal(f"{room}> ", style) if can_edit() else None
        with needs_reader(), nullcontext() if terminal is None else terminal.held():
            conversation = Chat(client, room, terminal or PipeInterface(), style)
            conversation.hear(first)
            await conversation.hold(items)
    return conversation.has_gap and terminal is None


class Chat:
    """One person's, or program's, part in a room."""

    def __init__(self, client: Client, room: str, desk: ChatInterface, style: Style) -> None:
        self.has_gap = False
        self._client = client
        self._room = room
        self._desk = desk
        self._style = style
        self._is_in = False
        self._present: set[str] = set()  # at most the 200 that a server lists; in larger rooms nobody is told by name
        self._open: set[asyncio.Future[Receipt]] = set()  # what was said and is not stored yet
        self._epoch = ""  # of the log that is heard
        self._said: Cursor | None = None  # the last that was ours
        self._heard = Cursor("", 0)  # the last that was shown
        self._news = asyncio.Event()  # for `_hear_ourselves`: one of these two has changed

    async def hold(self, items: AsyncIterator[Item | Signal]) -> None:
        """Show what is said and say what is typed, until the input ends."""
        hearing = asyncio.create_task(self._hear_all(items))
        speaking = asyncio.create_task(self._speak())
        try:
            done, _ = await asyncio.wait({hearing, speaking}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            hearing.cancel()
            speaking.cancel()
            await asyncio.gather(hearing, speaking, return_exceptions=True)

    def hear(self, item: Item | Signal) -> None:
        """Show what happens in the room."""
        match item:
            case Message():
                self._desk.show(self._line(item))
                self._heard = item.cursor
                self._news.set()
            case Gap():
                self._hear_gap(item)
            case Joined():
                self._hear_joined(item)
            case Presence():
                self._hear_presence(item)
            case Redacted():
                self._desk.note(f"message {item.seq} was redacted")
            case ConnectionLost():
                self._desk.warn(f"{item.reason}; trying again")
            case ConnectionRestored():
                self._desk.warn("connected again")
            case Typing():
                pass  # a line that comes and goes has no place in a terminal that scrolls
            case _:
                assert_never(item)

    def _hear_gap(self, item: Gap) -> None:
        self.has_gap = True
        self._desk.warn(gap_sentence(item))
        if item.reason == "epoch":
            self._forget_said(self._heard.epoch)
        self._heard = Cursor(self._epoch, item.before - 1)
        self._news.set()

    def _forget_said(self, epoch: str) -> None:
        """Wait no more for what was said in a log that is no more: it will never be heard."""
        if self._said is not None and self._said.epoch == epoch:
            self._said = None
            self._news.set()

    def _hear_joined(self, item: Joined) -> None:
        self._present = {member.name for member in item.members}
        if item.epoch != self._epoch:  # and nothing was heard of the other one, perhaps
            self._forget_said(self._epoch)
            self._epoch = item.epoch
        if not self._is_in:  # later ones are reconnections
            self._is_in = True
            self._desk.note(f"{self._room}: {_here(item.members, item.count)}; /help says what one can do")

    def _hear_presence(self, item: Presence) -> None:
        # What came with `joined` may come again here: oneself, and who came in the same moment.
        self._note_names([name for name in item.joined if name not in self._present], "joined")
        self._note_names([name for name in item.left if name in self._present], "left")
        self._present = (self._present | {*item.joined}) - {*item.left}

    def _note_names(self, names: Sequence[str], what: str) -> None:
        if names:
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            self._desk.note(f"{', '.join(map(one_line, names[:MAX_NAMED]))}{more} {what}")

    def _line(self, message: Message) -> str:
        if not self._desk.is_typed_at:
            return text_line(message)
        when = local_time(message.time_ms).strftime("%H:%M")
        return f"{self._style.dim(when)} {self._style.name(one_line(message.sender))}: {body_lines(message)}"

    async def _hear_all(self, items: AsyncIterator[Item | Signal]) -> None:
        async for item in items:
            self.hear(item)

    async def _speak(self) -> None:
        try:
            await self._say_all()
        except (BadInput, InputFailed):
            await self._end()  # of a pipe that stops at a line, what came before it is on its way
            raise
        await self._end()

    async def _say_all(self) -> None:
        async for line in self._desk.lines():
            if not self._desk.is_typed_at:
                await self._say(line)
            elif line == "/quit":
                break
            elif line.startswith("/") and not line.startswith("//"):
                await self._obey(line)
            elif line.strip():
                await self._try_to_say(line.removeprefix("/") if line.startswith("//") else line)

    async def _obey(self, command: str) -> None:
        if command == "/help":
            self._desk.note(HELP)
        elif command == "/who":
            try:
                view = await self._client.room(self._room)
                members = await self._client.members(self._room)  # at most 200 by name
            except ChatkitError as error:
                self._desk.warn(str(error))
            else:
                self._desk.note(_here(members, max(view.members, len(members))))
        else:
            self._desk.warn(f"there is no {command.split(maxsplit=1)[0]}: /help says what there is")

    async def _try_to_say(self, line: str) -> None:
        try:
            await self._say(line)
        except ChatkitError as error:
            self._desk.warn(f"not sent: {error}")

    async def _say(self, line: str) -> None:
        answer = await self._client.submit(self._room, line)
        self._open.add(answer)
        answer.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Receipt]) -> None:
        self._open.discard(answer)
        if answer.cancelled():
            return
        if error := answer.exception():
            self._desk.warn(f"not stored: {error}")
        else:
            # Of a log that began anew, this may come before it is heard of: its numbers are not those of the last one.
            at = answer.result().message.cursor
            if self._said is None or self._said.epoch != at.epoch or self._said.seq < at.seq:
                self._said = at
        self._news.set()

    async def _end(self) -> None:
        """Wait until all that was said is stored, and, in a pipe, shown like the rest."""
        if self._open and self._desk.is_typed_at:
            self._desk.warn("waiting until everything is stored; Ctrl-C leaves at once")
        while self._open or not (self._desk.is_typed_at or self._has_heard_all):
            self._news.clear()
            await self._news.wait()

    @property
    def _has_heard_all(self) -> bool:
        """Say whether all that was said, and is still there, was shown."""
        said, heard = self._said, self._heard
        return said is None or (said.epoch == heard.epoch and said.seq <= heard.seq)


def _here(members: Sequence[Member], count: int) -> str:
    names = [one_line(member.name) for member in members[:MAX_NAMED]]
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return f"{', '.join(names)}{more} {'is' if count == 1 else 'are'} here" if names else f"{count} are here"
