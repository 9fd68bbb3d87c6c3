"""What the parts of one chat share."""

from dataclasses import dataclass
from typing import Self

from chatkit.cli.chat.interface import ChatInterface
from chatkit.cli.chat.people import People
from chatkit.cli.chat.publisher import ChatPublisher
from chatkit.cli.chat.recent_messages import RecentMessages
from chatkit.cli.chat.style import Style
from chatkit.cli.chat.transcript import ASCII, UNICODE, Transcript
from chatkit.cli.marks import printable_marks
from chatkit.cli.output import can_print


@dataclass(frozen=True, slots=True)
class ChatContext:
    """The interface of a chat, and what it knows of its room."""

    interface: ChatInterface
    style: Style
    people: People
    recent: RecentMessages
    transcript: Transcript
    publisher: ChatPublisher

    @classmethod
    def of(cls, interface: ChatInterface, style: Style, people: People, recent: RecentMessages) -> Self:
        """Make the context of a chat whose messages are printed on standard output."""
        symbols = UNICODE if can_print("".join(UNICODE)) else ASCII
        transcript = Transcript(people, style, printable_marks(), symbols, recent)
        return cls(interface, style, people, recent, transcript, ChatPublisher(interface, transcript))
