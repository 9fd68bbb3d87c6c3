"""Discord: messages of webhooks, with embeds. Its Markdown is nearly that of the page.

Source: https://discord.com/developers/docs/resources/webhook#execute-webhook
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from chatkit.core.model import Message
from chatkit.server.hooks import payload
from chatkit.server.hooks.message import MAX_CARD_CHARS, MAX_VALUE_CHARS, HookMessage, card, field, read_cards
from chatkit.wire.cards import MAX_FIELDS, Card, hook_data_of

# Mentions, emoji, times and links without a preview. Between `<` and `>` is no other `<`, so the time is linear.
_REFERENCE: Final = re.compile(r"<([^<>\s]{1,2048})>")


def convert(sent: Any) -> HookMessage:
    """Return the message of a payload."""
    cards, n_left_out = read_cards(payload.items(sent, "embeds"), _embed)
    text, username = _markdown(payload.text(sent, "content")), payload.line(sent, "username")
    return HookMessage(text, cards, username, n_left_out=n_left_out)


def _embed(sent: Any) -> tuple[Card, ...]:
    fields = [
        each
        for sent_field in payload.items(sent, "fields")[:MAX_FIELDS]
        for each in field(
            payload.line(sent_field, "name"),
            _markdown(payload.text(sent_field, "value", max_chars=MAX_VALUE_CHARS)),
            short=payload.get(sent_field, "inline") is True,
        )
    ]
    image = payload.url(sent, "image", "url") or payload.url(sent, "thumbnail", "url")
    address, title = payload.url(sent, "url"), payload.line(sent, "title")
    return card(
        title=title,
        url=address,
        color=payload.color(payload.get(sent, "color")),
        author=payload.line(sent, "author", "name"),
        text=payload.join(
            [
                _markdown(payload.text(sent, "description", max_chars=MAX_CARD_CHARS)),
                payload.link("image", image) if image else "",
            ]
        ),
        fields=fields,
        footer=payload.join([payload.line(sent, "footer", "text"), _time(payload.line(sent, "timestamp"))], " · "),
    )


def _markdown(text: str) -> str:
    return _REFERENCE.sub(lambda found: _reference(found[1]), text)


def _reference(inner: str) -> str:
    """Return what stands between `<` and `>` as it is read."""
    if address := payload.checked_url(inner):
        return address
    kind, _, rest = inner.partition(":")
    if kind == "t":
        return _unix_time(rest.partition(":")[0]) or f"<{inner}>"
    if kind in {"", "a"} and ":" in rest:  # an emoji of the server: its name and its number
        return f":{rest.partition(':')[0]}:"
    return inner if inner[0] in "@#" else f"<{inner}>"


def _unix_time(digits: str) -> str:
    try:
        return f"{datetime.fromtimestamp(int(digits[:16]), UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def _time(sent: str) -> str:
    try:
        time = datetime.fromisoformat(sent)
        return f"{(time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return ""


def message_object(message: Message) -> dict[str, Any]:
    """Return the message as Discord answers with it if the client waits. Its ids are numbers in strings."""
    data = hook_data_of(message)
    return {
        "id": str(message.seq),
        "type": 0,
        "channel_id": "0",
        "webhook_id": "0",
        "content": message.body,
        "author": {"id": "0", "username": (data and data.username) or message.sender, "avatar": None, "bot": True},
        "timestamp": message.time,
        "edited_timestamp": None,
        "embeds": [],
        "attachments": [],
        "mentions": [],
        "mention_roles": [],
        "mention_everyone": False,
        "pinned": False,
        "tts": False,
        "flags": 0,
    }
