"""Slack's markup as readable text: mentions, links and escaped characters."""

import re
from collections.abc import Mapping
from typing import Final

_REFERENCE: Final = re.compile(r"<([^<>]*)>")  # user text has its own angle brackets as &lt; and &gt;
_ESCAPES: Final = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
_ESCAPED: Final = re.compile("|".join(_ESCAPES))


def readable(text: str, users: Mapping[str, str], channels: Mapping[str, str]) -> str:
    """Return the text with `<@U1>` as `@ann`, `<#C1|ops>` as `#ops`, and `<http://x.org|docs>` as `docs (http://x.org)`.

    `users` and `channels` map ids to names.
    """
    text = _REFERENCE.sub(lambda match: _reference(match[1], users, channels), text)
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], text)


def _reference(content: str, users: Mapping[str, str], channels: Mapping[str, str]) -> str:
    target, _, label = content.partition("|")
    match target[:1]:
        case "@":
            return f"@{label or users.get(target[1:], target[1:])}"
        case "#":
            return f"#{label or channels.get(target[1:], target[1:])}"
        case "!":
            return label or f"@{target[1:].partition('^')[0]}"  # <!here>, <!subteam^S1|@team>, <!date^…|yesterday>
    target = target.removeprefix("mailto:")
    return target if label in {"", target} or target.endswith(f"//{label}") else f"{label} ({target})"


def plain_attachment(attachment: Mapping[str, object]) -> str:
    """Return the text of an attachment, for a message without a text of its own."""
    for field in ("pretext", "text", "title", "fallback"):
        if isinstance(text := attachment.get(field), str) and text:
            return text
    return ""
