"""Slack: messages of incoming webhooks, with attachments and blocks.

Source: https://api.slack.com/messaging/webhooks, https://api.slack.com/reference/messaging/attachments
"""

from datetime import UTC, datetime
from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.message import (
    BAD,
    GOOD,
    MAX_CARD_CHARS,
    MAX_VALUE_CHARS,
    WARNING,
    HookMessage,
    card,
    field,
    read_cards,
)
from chatkit.server.hooks.mrkdwn import to_markdown, unescape
from chatkit.server.hooks.slack_blocks import read_blocks
from chatkit.wire.cards import MAX_CARDS, MAX_FIELDS, Card, CardField

COLORS: Final = {"good": GOOD, "warning": WARNING, "danger": BAD}


def convert(sent: Any) -> HookMessage:
    """Return the message of a payload."""
    shown, fields = read_blocks(payload.items(sent, "blocks"))
    if not shown and not fields:  # with blocks, the text is for notifications only
        shown = to_markdown(payload.text(sent, "text"))
    attachments = payload.items(sent, "attachments")
    cards, n_left_out = read_cards(attachments, _attachment)
    pretexts = [_markdown(attachment, "pretext") for attachment in attachments[:MAX_CARDS]]
    return HookMessage(
        payload.join([shown, *pretexts]),
        (*card(fields=fields), *cards),
        username=unescape(payload.line(sent, "username")),
        icon=payload.line(sent, "icon_emoji"),
        n_left_out=n_left_out,
    )


def _attachment(sent: Any) -> tuple[Card, ...]:
    shown, block_fields = read_blocks(payload.items(sent, "blocks"))
    fields = [each for sent_field in payload.items(sent, "fields")[:MAX_FIELDS] for each in _field(sent_field)]
    made = card(
        title=unescape(payload.line(sent, "title")),
        url=payload.url(sent, "title_link"),
        color=_color(payload.get(sent, "color")),
        author=unescape(payload.line(sent, "author_name")),
        text=payload.join([_markdown(sent, "text"), shown, _image(sent), _actions(sent)]),
        fields=fields + block_fields,
        footer=payload.join([unescape(payload.line(sent, "footer")), _time(payload.get(sent, "ts"))], " · "),
    )
    if made or payload.text(sent, "pretext"):
        return made
    return card(text=_markdown(sent, "fallback"), color=_color(payload.get(sent, "color")))


def _markdown(sent: Any, key: str) -> str:
    return to_markdown(payload.text(sent, key, max_chars=MAX_CARD_CHARS))


def _field(sent: Any) -> list[CardField]:
    value = to_markdown(payload.text(sent, "value", max_chars=MAX_VALUE_CHARS))
    return field(unescape(payload.line(sent, "title")), value, short=payload.get(sent, "short") is True)


def _actions(sent: Any) -> str:
    """Return the buttons that are links; a click on any other would have to reach the sender."""
    actions = payload.items(sent, "actions")
    links = [(payload.line(action, "text"), payload.url(action, "url")) for action in actions]
    return payload.join([payload.link(label, address) for label, address in links if address], " · ")


def _image(sent: Any) -> str:
    address = payload.url(sent, "image_url") or payload.url(sent, "thumb_url")
    return payload.link("image", address) if address else ""


def _color(sent: Any) -> str:
    return COLORS.get(sent, "") if isinstance(sent, str) and sent in COLORS else payload.color(sent)


def _time(sent: Any) -> str:
    """Return a Unix time in seconds as text; Slack also accepts it as a string."""
    try:
        return f"{datetime.fromtimestamp(float(sent), UTC):%Y-%m-%d %H:%M} UTC"
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
