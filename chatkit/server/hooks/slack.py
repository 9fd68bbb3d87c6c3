"""Slack: messages of incoming webhooks, with attachments and blocks.

Source: https://api.slack.com/messaging/webhooks, https://api.slack.com/reference/messaging/attachments
"""

from datetime import UTC, datetime
from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.message import BAD, GOOD, WARNING, HookMessage, card, field
from chatkit.server.hooks.mrkdwn import to_markdown, unescape
from chatkit.server.hooks.slack_blocks import read_blocks
from chatkit.wire.cards import Card, CardField

COLORS: Final = {"good": GOOD, "warning": WARNING, "danger": BAD}


def convert(sent: Any) -> HookMessage:
    """Return the message of a payload."""
    text = to_markdown(payload.text(sent, "text"))
    shown, fields = read_blocks(payload.items(sent, "blocks"))
    lines = [shown or ("" if fields else text)]  # with blocks, the text is for notifications only
    cards = list(card(fields=fields))
    for attachment in payload.items(sent, "attachments"):
        lines.append(to_markdown(payload.text(attachment, "pretext")))
        cards += _attachment(attachment)
    username, icon = unescape(payload.line(sent, "username")), payload.line(sent, "icon_emoji")
    return HookMessage(payload.join(lines), tuple(cards), username, icon)


def _attachment(sent: Any) -> tuple[Card, ...]:
    shown, block_fields = read_blocks(payload.items(sent, "blocks"))
    fields = [each for sent_field in payload.items(sent, "fields") for each in _field(sent_field)]
    made = card(
        title=unescape(payload.line(sent, "title")),
        url=payload.url(sent, "title_link"),
        color=_color(payload.get(sent, "color")),
        author=unescape(payload.line(sent, "author_name")),
        text=payload.join([to_markdown(payload.text(sent, "text")), shown, _image(sent), _actions(sent)]),
        fields=fields + block_fields,
        footer=payload.join([unescape(payload.line(sent, "footer")), _time(payload.get(sent, "ts"))], " · "),
    )
    if made or payload.text(sent, "pretext"):
        return made
    return card(text=to_markdown(payload.text(sent, "fallback")), color=_color(payload.get(sent, "color")))


def _field(sent: Any) -> list[CardField]:
    name, value = payload.line(sent, "title"), to_markdown(payload.text(sent, "value"))
    return field(unescape(name), value, short=payload.get(sent, "short") is True)


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
