"""Relations: what refers to a message, folded into the state that readers see.

The rules are those of every backend and of every client that folds what was delivered to it. Synchronous, without I/O.
"""

from collections.abc import Iterable
from heapq import nsmallest
from typing import assert_never

from msgspec.structs import replace

from chatkit.core.message_state import MAX_LISTED_NAMES, NO_STATE, Act, Edit, MessageState, Reaction
from chatkit.core.model import Message


class Relations:
    """The replies and changes of one message, from its log. They are applied in the order of their numbers."""

    __slots__ = ("_edit", "_is_pinned", "_n_replies", "_reactions", "_state")

    def __init__(self) -> None:
        self._edit: Message | None = None
        self._reactions: dict[str, set[str]] = {}  # the senders by emoji
        self._n_replies = 0
        self._is_pinned = False
        self._state: MessageState | None = None  # until the next change

    def apply(self, entry: Message) -> None:
        """Add a message that refers to this one. A change that was made before, or was redacted, changes nothing."""
        self._state = None
        match entry.act:
            case None:
                self._n_replies += 1
            case Act.EDIT:
                self._edit = self._edit if entry.redacted else entry
            case Act.REACT:
                self._reactions.setdefault(entry.body, set()).add(entry.sender)
            case Act.UNREACT:
                self._remove(entry.body, entry.sender)
            case Act.PIN | Act.UNPIN:
                self._is_pinned = entry.act is Act.PIN
            case Act.REDACT:
                self.redact()
            case _:
                assert_never(entry.act)

    def _remove(self, emoji: str, sender: str) -> None:
        senders = self._reactions.get(emoji, set())
        senders.discard(sender)
        if not senders:
            self._reactions.pop(emoji, None)

    def redact(self) -> None:
        """Forget everything but the number of replies."""
        self._state = self._edit = None
        self._reactions.clear()
        self._is_pinned = False

    def show_edit(self, edit: Message | None) -> None:
        """Show the text of another edit, or that of the message itself: the newest edit was redacted."""
        self._state, self._edit = None, edit

    def has_reaction(self, emoji: str, sender: str) -> bool:
        """Return whether a sender has put an emoji to the message."""
        return sender in self._reactions.get(emoji, ())

    @property
    def state(self) -> MessageState:
        """The state of the message, unless it is redacted. Computed once after a change."""
        if self._state is None:
            edited = None if self._edit is None else Edit(self._edit.seq, self._edit.time_ms)
            reactions = tuple(
                Reaction(emoji, len(senders), tuple(nsmallest(MAX_LISTED_NAMES, senders)))
                for emoji, senders in self._reactions.items()
            )
            self._state = MessageState(edited, reactions, self._n_replies, self._is_pinned)
        return self._state

    def show(self, message: Message) -> Message:
        """Return the message in its current state: with the text and mentions of its newest edit."""
        state = MessageState(n_replies=self._n_replies) if message.redacted else self.state
        if state == NO_STATE:
            return message
        if state.edited is None or self._edit is None:
            return replace(message, state=state)
        return replace(message, body=self._edit.body, mentions=self._edit.mentions, state=state)


def fold(entries: Iterable[Message]) -> list[Message]:
    """Return the messages among entries of one room, in their order, without the changes, each in its current state.

    The entries are as they were written and delivered. One that refers to a message that is not among them is ignored,
    apart from a reply, which is a message itself. An edit counts only if its sender is the message's.
    """
    messages: dict[int, Message] = {}
    relations: dict[int, Relations] = {}
    for entry in entries:
        if entry.act is None:
            messages[entry.seq] = entry
        target = messages.get(entry.of or 0)
        if target is None or (entry.act is Act.EDIT and entry.sender != target.sender):
            continue
        if target.redacted and entry.act is not None:
            continue
        relations.setdefault(target.seq, Relations()).apply(entry)
        if entry.act is Act.REDACT:
            messages[target.seq] = target.tombstone()
    return [relations[seq].show(message) if seq in relations else message for seq, message in messages.items()]
