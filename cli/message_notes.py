"""Notes about a message, as text for people: its state, the message that it answers, and what a change did. No I/O."""

from typing import Final

from chatkit.cli.marks import UNICODE, Marks, sender_of
from chatkit.cli.sanitize import one_line, visible
from chatkit.core.message_state import Act, Reaction
from chatkit.core.model import Message

MAX_QUOTED_CHARS: Final = 40  # of the message that a reply answers, to recognize it
REPLY_ARROW: Final = "↳"
ASCII_ARROW: Final = "->"


def state_note(message: Message) -> str:
    """Return the current state of a message, such as `(edited)  👍 3 ann, bob, cat`; empty if it has no state."""
    state = message.state
    if state is None:
        return ""
    parts = ["(edited)"] if state.edited else []
    parts += ["(pinned)"] if state.is_pinned else []
    parts += [_reaction_text(reaction) for reaction in state.reactions]
    if state.n_replies:
        parts.append("1 reply" if state.n_replies == 1 else f"{state.n_replies:,} replies")
    return "  ".join(parts)


def _reaction_text(reaction: Reaction) -> str:
    names = ", ".join(map(one_line, reaction.by))
    left_out = reaction.count - len(reaction.by)
    more = f" and {left_out:,} more" if left_out > 0 else ""
    return f"{one_line(reaction.emoji)} {reaction.count:,} {names}{more}".rstrip()


def reply_note(message: Message, quoted: Message | None, arrow: str = REPLY_ARROW, marks: Marks = UNICODE) -> str:
    """Return which message a reply answers, such as `↳ #42 ann: first words`; empty if the message is not a reply.

    `quoted` is that message, or None if it is not known.
    """
    if message.of is None or message.act is not None:
        return ""
    if quoted is None:
        return f"{arrow} #{message.of}"
    return f"{arrow} #{message.of} {''.join(sender_of(quoted, marks))}: {first_words(quoted)}"


def first_words(message: Message) -> str:
    """Return the beginning of a message's text, on one line."""
    if message.redacted:
        return "(redacted)"
    first = message.body.strip().partition("\n")[0]
    is_cut = len(first) > MAX_QUOTED_CHARS or first != message.body.strip()
    return one_line(first[:MAX_QUOTED_CHARS].rstrip()) + ("…" if is_cut else "")


def change_text(change: Message) -> str:  # noqa: PLR0911 - a table of cases
    """Return what a change did, after the name of its sender: `edited #42: new text`."""
    number = f"#{change.of}"
    match change.act:
        case Act.EDIT:
            return f"edited {number}: {'(redacted)' if change.redacted else visible(change.body)}"
        case Act.REACT:
            return f"reacted to {number} with {one_line(change.body)}"
        case Act.UNREACT:
            return f"removed {one_line(change.body)} from {number}"
        case Act.PIN:
            return f"pinned {number}"
        case Act.UNPIN:
            return f"unpinned {number}"
        case Act.REDACT:
            return f"redacted {number}"
        case None:
            return ""
