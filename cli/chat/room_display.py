"""What a chat shows of its room: messages, changes, gaps, who joins and leaves, and who is typing. Sends nothing."""

import asyncio
from collections.abc import Sequence
from typing import assert_never

from chatkit.cli.chat.context import ChatContext
from chatkit.cli.chat.notes import (
    archive_sentence,
    names_sentence,
    present_sentence,
    room_notes,
    topic_sentence,
    typing_hint,
)
from chatkit.cli.formats import gap_sentence, text_line
from chatkit.cli.marks import printable_marks
from chatkit.client import (
    ConnectionLost,
    ConnectionRestored,
    Item,
    Joined,
    Presence,
    Redacted,
    RoomChanged,
    Signal,
    Typing,
)
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap, Message
from chatkit.errors import RoomRenamed

TYPING_CHECK_S = 1.0  # between two checks whether somebody is still typing


class RoomDisplay:
    """Shows the items of one room. `room` is its name and `topic` its topic; both may change."""

    def __init__(self, room: str, context: ChatContext) -> None:
        self.room = room
        self.topic = ""
        self.has_gap = False
        self._interface = context.interface
        self._style = context.style
        self._people = context.people
        self._recent = context.recent
        self._transcript = context.transcript
        self._sent = context.publisher.sent
        self._marks = printable_marks()
        self._has_joined = False
        self._is_archived = False
        self._last_known = 0  # the room's newest message when it was joined: those up to it are not news
        self._epoch = ""  # of the log that is followed

    def receive(self, item: Item | Signal) -> None:
        """Show a message or an event of the room."""
        match item:
            case Message():
                self._on_message(item)
            case Gap():
                self._on_gap(item)
            case Joined():
                self._on_joined(item)
            case RoomChanged():
                self._on_settings(item.topic, is_archived=item.archived)
            case Presence():
                self._on_presence(item)
            case Redacted():
                self._recent.redact(item.seq)  # the entry that says who did it follows
            case ConnectionLost():
                self._interface.warn(f"{item.reason}; trying again")
                self._interface.note("what you send is kept until then")
            case ConnectionRestored():
                self._interface.warn("connected again")
            case Typing():
                self._on_typing(item)
            case _:
                assert_never(item)

    def _on_message(self, message: Message) -> None:
        shown = self._sent.last_shown
        if message.epoch == shown.epoch and message.seq <= shown.seq:
            return  # shown before this person changed the name
        if self._interface.is_interactive:
            self._recent.add(message)
            self._people.spoke(message.sender)
            self._interface.show(self._transcript.message(message, self._interface.width))
            self._call(message)
            self._show_typing()
        elif message.act in (None, Act.EDIT):
            self._interface.show(text_line(message, self._marks))
        self._sent.shown(message.cursor)

    def _call(self, message: Message) -> None:
        """Notify a person who is elsewhere of a new message of another one."""
        is_news = message.epoch == self._epoch and message.seq > self._last_known
        if is_news and message.act is None and message.sender != self._people.name:
            mentioned = (name.casefold() for name in message.mentions)
            self._interface.call(is_mention=self._people.name.casefold() in mentioned)

    def _on_gap(self, gap: Gap) -> None:
        self.has_gap = True
        self._interface.warn(gap_sentence(gap))
        if gap.reason == "epoch":
            self._sent.forget(self._sent.last_shown.epoch)
        self._sent.shown(Cursor(self._epoch, gap.before - 1))

    def _on_joined(self, item: Joined) -> None:
        self._people.present = {member.name for member in item.members}
        self._style.set_present(self._people.present)
        if item.epoch != self._epoch:  # a gap with the old epoch may not have arrived
            self._sent.forget(self._epoch)
            self._epoch = item.epoch
        if item.room != self.room:
            self._interface.warn(str(RoomRenamed(self.room, item.room)))
            self.room = item.room
            self._interface.set_title(item.room)
        if self._has_joined:  # this event follows a reconnection
            self._on_settings(item.topic, is_archived=item.archived)
            return
        self._has_joined = True
        self._last_known = item.last
        self.topic, self._is_archived = item.topic, item.archived
        who = present_sentence(item.members, item.count, self._marks)
        self._interface.note(f"{self.room}: {who}; type /help for help")
        for note in room_notes(item):
            self._interface.note(note)

    def show_topic(self, topic: str) -> None:
        """Show the topic of the room."""
        self.topic = topic
        self._interface.note(topic_sentence(topic))

    def _on_settings(self, topic: str, *, is_archived: bool) -> None:
        if topic != self.topic:
            self.show_topic(topic)
        if is_archived is not self._is_archived:
            self._is_archived = is_archived
            self._interface.note(archive_sentence(is_archived=is_archived))

    def _on_presence(self, item: Presence) -> None:
        # Members that `joined` listed may be reported again, such as this person.
        present = self._people.present
        self._note([name for name in item.joined if name not in present], "joined")
        self._note([name for name in item.left if name in present], "left")
        present |= {*item.joined}
        self._people.left(item.left)
        self._style.set_present(present)
        self._show_typing()

    def _note(self, names: Sequence[str], what: str) -> None:
        if names:
            self._interface.note(names_sentence(names, what))

    def _on_typing(self, item: Typing) -> None:
        loop = asyncio.get_running_loop()
        if not self._people.typing(loop.time()):
            loop.call_later(TYPING_CHECK_S, self._check_typing)
        self._people.typed(item.sender, loop.time())
        self._show_typing()

    def _check_typing(self) -> None:
        loop = asyncio.get_running_loop()
        if self._people.typing(loop.time()):
            loop.call_later(TYPING_CHECK_S, self._check_typing)
        self._show_typing()

    def _show_typing(self) -> None:
        names = self._people.typing(asyncio.get_running_loop().time())
        self._interface.set_hint(typing_hint(names))
