"""What a terminal shows of a message: its body and data, or the text and the cards of a webhook's message. No I/O."""

from typing import Final

import msgspec

from chatkit.cli.sanitize import escaped
from chatkit.core.model import Message
from chatkit.wire.cards import MAX_CARDS, MAX_FIELDS, Card, CardField, hook_data_of

CARD_INDENT: Final = "  "


def shown_text(message: Message) -> str:
    """Return the body of a message; for a webhook's, its text and then each card as indented lines.

    After an edit, the body is all there is: the cards are those of the earlier one.
    """
    data = hook_data_of(message)
    if data is None or not data.cards or (message.state is not None and message.state.edited):
        return message.body
    text = message.body.split("\n")[: max(0, data.lines)]
    cards = [line for card in data.cards[:MAX_CARDS] for line in _card_lines(card)]
    return "\n".join([*text, *cards])


def shown_data(message: Message) -> str | None:
    """Return the data of a message as JSON on one line; None without data, and if the text shows it."""
    if message.data is None or hook_data_of(message) is not None:
        return None
    return escaped(msgspec.json.encode(message.data).decode())


def shown_username(message: Message) -> str:
    """Return the name that the sender of a webhook gave, as ` (name)`; empty for other messages."""
    data = hook_data_of(message)
    return f" ({data.username})" if data is not None and data.username else ""


def _card_lines(card: Card) -> list[str]:
    title = f"{card.title} {card.url}".strip()
    details = [card.author, card.text, *map(_field_text, card.fields[:MAX_FIELDS]), card.footer]
    lines = [line for detail in details if detail for line in detail.split("\n")]
    indent = CARD_INDENT * (2 if title else 1)
    return [*([f"{CARD_INDENT}{title}"] if title else []), *(f"{indent}{line}" for line in lines)]


def _field_text(field: CardField) -> str:
    return f"{field.name}: {field.value}" if field.name else field.value
