"""Slack's Block Kit: the texts of blocks as Markdown, and the fields of sections.

Source: https://api.slack.com/reference/block-kit/blocks
"""

from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.message import field
from chatkit.server.hooks.mrkdwn import to_markdown, unescape
from chatkit.wire.cards import MAX_FIELDS, CardField

MAX_CHARS: Final = 3_000  # of a block: Slack's limit of a section
MAX_DEPTH: Final = 6  # of rich text: a list in a quotation has three levels
MAX_RUN_CHARS: Final = 10_000  # of a run of rich text: far more than a block may hold


def read_blocks(blocks: list[Any]) -> tuple[str, list[CardField]]:
    """Return the text of blocks, and the fields of their sections."""
    texts: list[str] = []
    fields: list[CardField] = []
    n_chars = 0
    for block in blocks:
        texts.append(_block(block) if n_chars < payload.MAX_TEXT_CHARS else "")
        n_chars += len(texts[-1])
        if payload.get(block, "type") == "section" and len(fields) < MAX_FIELDS:
            fields += [each for sent in payload.items(block, "fields")[:MAX_FIELDS] for each in _field(_text(sent))]
    return payload.clean(payload.join(texts)), fields


def _block(block: Any) -> str:  # noqa: PLR0911 - a table of cases
    match payload.get(block, "type"):
        case "header":
            heading = payload.line(block, "text", "text")
            return f"**{unescape(heading)}**" if heading else ""
        case "section":
            return payload.join([_text(payload.get(block, "text")), _element(payload.get(block, "accessory"))])
        case "context":
            return payload.join([_element(each) for each in payload.items(block, "elements")], " ")
        case "actions":
            return payload.join([_element(each) for each in payload.items(block, "elements")], " · ")
        case "image":
            return _image(block)
        case "markdown":
            return payload.text(block, "text")
        case "rich_text":
            return payload.join([_rich(each, 0) for each in payload.items(block, "elements")])
        case _:
            return ""


def _text(sent: Any) -> str:
    text = payload.text(sent, "text", max_chars=MAX_CHARS)
    return unescape(text) if payload.get(sent, "type") == "plain_text" else to_markdown(text)


def _element(element: Any) -> str:
    match payload.get(element, "type"):
        case "mrkdwn" | "plain_text":
            return _text(element)
        case "image":
            return _image(element)
        case "button":
            address = payload.url(element, "url")
            return payload.link(unescape(payload.line(element, "text", "text")), address) if address else ""
        case _:
            return ""


def _image(block: Any) -> str:
    label = payload.line(block, "title", "text") or payload.line(block, "alt_text")
    return payload.link(unescape(label) or "image", payload.url(block, "image_url"))


def _field(text: str) -> list[CardField]:
    """Return a field of a section. Its first line is the name, if it is bold and others follow."""
    first, _, rest = text.partition("\n")
    if rest and first.startswith("**") and first.endswith("**"):
        return field(first.strip("*").rstrip(": "), rest.strip(), short=True)
    return field("", text, short=True)


def _rich(element: Any, depth: int) -> str:
    """Return the text of an element of rich text."""
    if depth > MAX_DEPTH:
        return ""
    inner = [_rich(each, depth + 1) for each in payload.items(element, "elements")]
    match payload.get(element, "type"):
        case "rich_text_preformatted":
            return f"```\n{''.join(inner)}\n```"
        case "rich_text_quote":
            return "\n".join(f"> {each}" for each in "".join(inner).split("\n"))
        case "rich_text_list":
            marks = [f"{n}." for n in range(1, len(inner) + 1)]
            return "\n".join(
                f"{mark if payload.get(element, 'style') == 'ordered' else '-'} {each}"
                for mark, each in zip(marks, inner, strict=True)
            )
        case "rich_text_section":
            return "".join(inner)
        case _:
            return _styled(_inline(element), payload.get(element, "style"))


def _inline(element: Any) -> str:  # noqa: PLR0911 - a table of cases
    match payload.get(element, "type"):
        case "text":
            found = payload.get(element, "text")  # with its spaces at both ends
            return payload.clean(f"|{found[:MAX_RUN_CHARS]}|")[1:-1] if isinstance(found, str) else ""
        case "link":
            return payload.link(payload.line(element, "text"), payload.url(element, "url"))
        case "emoji":
            return f":{payload.line(element, 'name')}:"
        case "user":
            return f"@{payload.line(element, 'user_id')}"
        case "channel":
            return f"#{payload.line(element, 'channel_id')}"
        case "broadcast":
            return f"@{payload.line(element, 'range')}"
        case _:
            return ""


def _styled(text: str, style: Any) -> str:
    if not text.strip() or not isinstance(style, dict):
        return text
    for name, mark in (("code", "`"), ("strike", "~~"), ("italic", "_"), ("bold", "**")):
        if style.get(name) is True:
            text = f"{mark}{text}{mark}"
    return text
