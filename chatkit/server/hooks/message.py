"""HookMessage: what a converter makes of a payload, and the body and the data of the message that is stored.

The body is complete in itself: after the text, each card is a quotation. The data repeats the cards in parts.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from chatkit.server.hooks import payload
from chatkit.wire.cards import MAX_CARDS, MAX_FIELDS, Card, CardField, HookData
from chatkit.wire.messages import encode

MAX_CARD_CHARS: Final = 6_000  # of the texts of a card: Discord's limit for all embeds of a message
MAX_VALUE_CHARS: Final = 1_024  # of a field: Discord's limit
MAX_CHARS: Final = 40_000  # of all cards: about as much as a body holds
MAX_SHORT_CHARS: Final = 24  # of a value that can be beside another one
MAX_NAME_CHARS: Final = 80  # of the name that a sender gives itself: Discord's limit

GOOD: Final = "#2f9e5b"
WARNING: Final = "#d9902f"
BAD: Final = "#d03a3a"
MERGED: Final = "#8250df"
NEUTRAL: Final = "#6b7280"


class HookMessage(msgspec.Struct, frozen=True):
    """A message of a webhook. `text` is Markdown as in a body. `data`, if not None, is stored in place of the cards.

    `n_left_out` is the number of cards that are too many.
    """

    text: str = ""
    cards: tuple[Card, ...] = ()
    username: str = ""
    icon: str = ""
    event: str = ""
    data: Any = None
    n_left_out: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.text and not self.cards


def read_cards(items: Sequence[Any], read: Callable[[Any], tuple[Card, ...]]) -> tuple[tuple[Card, ...], int]:
    """Return the cards of the first items, as many as are shown, and the number of the other items."""
    cards: list[Card] = []
    n_chars = 0
    for index, item in enumerate(items):
        if len(cards) >= MAX_CARDS or n_chars > MAX_CHARS:
            return tuple(cards), len(items) - index
        found = read(item)
        cards += found
        n_chars += sum(len(each.text) + sum(len(part.value) for part in each.fields) for each in found)
    return tuple(cards), 0


def card(
    *,
    title: str = "",
    url: str = "",
    color: str = "",
    author: str = "",
    text: str = "",
    fields: list[CardField] | None = None,
    footer: str = "",
) -> tuple[Card, ...]:
    """Return a card within its limits, or nothing if it would be empty."""
    kept = tuple((fields or [])[:MAX_FIELDS])
    made = Card(title, url if title else "", color, author, shortened(text), kept, footer)
    return () if made == Card(color=made.color) else (made,)


def field(name: str, value: str, *, short: bool = False) -> list[CardField]:
    """Return a field, or nothing if it has no value. It is only short if its value is."""
    name = payload.one_line(name)
    value = shortened(value, MAX_VALUE_CHARS)
    return [CardField(name, value, short and len(value) <= MAX_SHORT_CHARS)] if value else []


def shortened(text: str, max_chars: int = MAX_CARD_CHARS) -> str:
    """Return the text, or its beginning with a sentence if it is too long for a card."""
    return text if len(text) <= max_chars else text[:max_chars].rstrip() + payload.CUT


def body_of(message: HookMessage, max_bytes: int) -> tuple[str, int]:
    """Return the body of a message, and how many lines of it are its text. It has at most `max_bytes` of UTF-8."""
    text = cut(message.text, max_bytes)
    body = "\n\n".join(filter(None, (text, *map(_quoted, message.cards), _left_out(message))))
    return cut(body, max_bytes), text.count("\n") + 1 if text else 0


def cut(text: str, max_bytes: int) -> str:
    """Return the text, or its beginning with a sentence if it is longer than `max_bytes` of UTF-8."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return text
    kept = encoded[: max(0, max_bytes - len(payload.CUT.encode()))].decode(errors="ignore")
    return kept.rstrip() + payload.CUT


def _left_out(message: HookMessage) -> str:
    return f"… and {message.n_left_out} more" if message.n_left_out else ""


def _quoted(shown: Card) -> str:
    lines = [
        shown.author,
        f"**{payload.link(shown.title, shown.url)}**" if shown.title else "",
        shown.text,
        *(_field_text(each) for each in shown.fields),
        shown.footer,
    ]
    return "\n".join(f"> {each}" for each in payload.join(lines).split("\n"))


def _field_text(shown: CardField) -> str:
    if not shown.name:
        return shown.value
    return f"**{shown.name}:**{chr(10) if chr(10) in shown.value else ' '}{shown.value}"


def data_of(message: HookMessage, hook: str, lines: int, max_bytes: int) -> Any:
    """Return the data of a message, with as many cards as fit in `max_bytes` of JSON; None if the body says all."""
    if message.data is not None:
        return message.data
    data = HookData(
        hook,
        lines if message.cards else 0,
        payload.one_line(message.username, MAX_NAME_CHARS),
        payload.one_line(message.icon, MAX_NAME_CHARS),
        payload.one_line(message.event, MAX_NAME_CHARS),
        message.cards,
    )
    while data.cards and len(encode(data)) > max_bytes:
        data = replace(data, cards=data.cards[:-1])
    return None if data == HookData(hook) else msgspec.to_builtins(data)
