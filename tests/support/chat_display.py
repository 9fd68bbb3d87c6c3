"""The display of a chat without a terminal: what it shows is kept as text."""

from collections.abc import Sequence

from chatkit.cli.chat.context import ChatContext
from chatkit.cli.chat.interface import PipeInterface
from chatkit.cli.chat.people import People
from chatkit.cli.chat.recent_messages import RecentMessages
from chatkit.cli.chat.style import Style
from chatkit.core.message_state import Act
from chatkit.core.model import Message

NOON_MS = 1_795_867_200_000  # 2026-11-28, 12:00 UTC


class KeptScreen(PipeInterface):
    """A terminal that keeps what is shown, with dashes before notes."""

    is_interactive = True

    def __init__(self, width: int = 80) -> None:
        self.width = width
        self.shown: list[str] = []
        self.notes: list[str] = []
        self.calls: list[bool] = []  # whether each was a mention
        self.waiting: Sequence[str] = ()
        self.hint = ""
        self.title = ""

    def show(self, text: str) -> None:
        self.shown.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.notes.append(text)

    def set_title(self, title: str) -> None:
        self.title = title

    def set_hint(self, hint: str) -> None:
        self.hint = hint

    def set_waiting(self, rows: Sequence[str]) -> None:
        self.waiting = rows

    def call(self, *, is_mention: bool) -> None:
        self.calls.append(is_mention)


def context_of(interface: PipeInterface, name: str = "ann", *, is_coloured: bool = False) -> ChatContext:
    """Return the context of a chat in which this person has this name."""
    return ChatContext.of(interface, Style(is_coloured=is_coloured), People(name), RecentMessages())


def entry(
    seq: int,
    sender: str,
    body: str = "",
    of: int | None = None,
    act: Act | None = None,
    *,
    epoch: str = "e",
    mentions: tuple[str, ...] = (),
    time_ms: int = NOON_MS,
) -> Message:
    """Return a message of the room `ops`, as it is delivered."""
    return Message("ops", epoch, seq, time_ms, sender, body, of=of, act=act, mentions=mentions)
