"""What the data of a webhook's message holds, beside its body: who it says it is from, and cards. Shared by both ends.

The body says all of it, as text. Its first `lines` lines are the message itself, and the cards are the rest, in parts
that can be drawn. Clients that draw no cards show the body.
"""

from typing import Any, Final

import msgspec

from chatkit.core.model import Message

MAX_CARDS: Final = 20  # of a message: more would fill several screens
MAX_FIELDS: Final = 25  # of a card


class CardField(msgspec.Struct, frozen=True, omit_defaults=True):
    """A name with a value. Fields that are `short` can be beside each other."""

    name: str
    value: str
    short: bool = False


class Card(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a message with a title, such as an attachment. `color` is `#rrggbb`, and `url` is that of the title.

    The text, the names and the values are Markdown as in a body; title, author and footer are plain text on one line.
    """

    title: str = ""
    url: str = ""
    color: str = ""
    author: str = ""
    text: str = ""
    fields: tuple[CardField, ...] = ()
    footer: str = ""


class HookData(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data of a webhook's message. `hook` is the format in which it was sent, and `event` the name of the event.

    `username` and `icon` are what the sender of the webhook calls itself: nobody has checked them.
    """

    hook: str
    lines: int = 0
    username: str = ""
    icon: str = ""
    event: str = ""
    cards: tuple[Card, ...] = ()


def hook_data_of(message: Message) -> HookData | None:
    """Return the data of a webhook's message, or None for any other message. The values may be anything."""
    return read_hook_data(message.data) if message.bot and not message.redacted else None


def read_hook_data(data: Any) -> HookData | None:
    """Return data that has the form of a webhook's, or None."""
    if not isinstance(data, dict) or "hook" not in data:
        return None
    try:
        return msgspec.convert(data, HookData)
    except msgspec.ValidationError:
        return None
