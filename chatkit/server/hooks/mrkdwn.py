"""Slack's `mrkdwn` as Markdown: links, mentions, bold and struck text, and escaped characters.

The time is linear in the length of the text: every pattern stops at the character that can begin its next match. What
may not be changed (code and links) is taken out first and put back at the end.
"""

import re
from typing import Final

from chatkit.server.hooks.payload import checked_url, link

_MARK: Final = "\x00"  # stands for what was taken out; `payload.clean` has removed this character from the text
_FENCE: Final = "```"
_KEPT: Final = re.compile(r"(`[^`\n]+`|<[^<>\n]{1,4096}>)")
_BOLD: Final = re.compile(r"(?<![\w*])\*(?![\s*])([^*\n]+)(?<!\s)\*(?![\w*])")
_STRUCK: Final = re.compile(r"(?<![\w~])~(?![\s~])([^~\n]+)(?<!\s)~(?![\w~])")


def to_markdown(text: str) -> str:
    """Return a text in `mrkdwn` as Markdown. The text is clean (`payload.text`)."""
    kept: list[str] = []
    outside = [""]
    parts = text.split(_FENCE)
    for index, part in enumerate(parts):
        if index % 2 and index < len(parts) - 1:
            kept.append(f"{_FENCE}\n{unescape(part).strip(chr(10))}\n{_FENCE}")
            outside.append(f"{_MARK}\n" if outside[-1][-1:] in {"", "\n"} else f"\n{_MARK}\n")
            parts[index + 1] = parts[index + 1].removeprefix("\n")
        else:  # outside of a fence, or after one that is not closed
            outside.append((_FENCE if index % 2 else "") + _take_out(part, kept))
    bold = _BOLD.sub(lambda found: f"**{found[1]}**", "".join(outside))
    marked = _STRUCK.sub(lambda found: f"~~{found[1]}~~", bold)
    rest = iter(kept)
    # One piece a mark, in order: the patterns neither add marks nor move them.
    return "".join(unescape(piece) + next(rest, "") for piece in marked.split(_MARK)).strip()


def unescape(text: str) -> str:
    """Return the text with the three characters that Slack escapes."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _take_out(text: str, kept: list[str]) -> str:
    pieces = _KEPT.split(text)
    for index in range(1, len(pieces), 2):
        piece = pieces[index]
        kept.append(_reference(piece[1:-1]) if piece[0] == "<" else unescape(piece))
        pieces[index] = _MARK
    return "".join(pieces)


def _reference(inner: str) -> str:
    """Return what stands between `<` and `>`: a link, a mention, a channel or a date."""
    target, _, label = inner.partition("|")
    label = unescape(label)
    match target[:1]:
        case "@":
            return f"@{label.removeprefix('@') or target[1:]}"
        case "#":
            return f"#{label.removeprefix('#') or target[1:]}"
        case "!":
            return label or f"@{target[1:].partition('^')[0]}"
    address = checked_url(unescape(target))
    if address:
        return link(label, address)
    if label or target.startswith("mailto:"):
        return label or unescape(target.removeprefix("mailto:"))
    return f"<{unescape(target)}>"  # of a sender that does not escape its texts
