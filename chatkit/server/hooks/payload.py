"""Tolerant access to the decoded JSON of a webhook: what is missing, or has another type, is empty.

Senders differ in what they leave out, and a message with less in it is better than none. Each text is cut first and
then cleaned, so the time does not depend on what is cut off.
"""

import re
from typing import Any, Final

MAX_ITEMS: Final = 100  # of a list: Slack sends at most 100 attachments, Discord 10 embeds; no more is readable
MAX_TEXT_CHARS: Final = 40_000  # of a text: Slack's limit, the highest of all
MAX_LINE_CHARS: Final = 300  # of a text on one line, such as a title: Discord allows 256
MAX_URL_CHARS: Final = 2_048  # the page makes no link of a longer one
CUT: Final = "\n… (cut off here: the text was too long)"

# Control characters, also those that begin escape sequences, and lone surrogates, which UTF-8 cannot encode.
_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_URL: Final = re.compile(r"https?://[^\s<>\"`\x00-\x20]+", re.IGNORECASE)
_ESCAPED: Final = {ord("("): "%28", ord(")"): "%29"}  # they would end a link in Markdown


def get(value: Any, *path: str) -> Any:
    """Return the value at a path of keys, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def items(value: Any, *path: str) -> list[Any]:
    """Return the first elements of a list at a path."""
    found = get(value, *path)
    return found[:MAX_ITEMS] if isinstance(found, list) else []


def text(value: Any, *path: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return the text at a path, without control characters; a number as text."""
    found = get(value, *path)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return ""
    if not isinstance(found, str):
        return number(found)
    return clean(found, max_chars)


def number(value: float) -> str:
    """Return a number as text; an absurdly long one is left out."""
    if isinstance(value, int) and value.bit_length() > 128:  # longer integers take quadratic time to write
        return ""
    return str(value)


def clean(found: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return the text without control characters, with a sentence at its end if it was cut."""
    kept = found[:max_chars].replace("\r\n", "\n")
    cleaned = _UNSAFE.sub("", kept.replace("\r", "\n")).strip()
    return cleaned + CUT if len(found) > max_chars else cleaned


def line(value: Any, *path: str) -> str:
    """Return the text at a path on one line."""
    return one_line(text(value, *path, max_chars=2 * MAX_LINE_CHARS))


def one_line(found: str, max_chars: int = MAX_LINE_CHARS) -> str:
    """Return the text on one line, cut where it is long."""
    joined = " ".join(found[: 2 * max_chars].split())
    return joined if len(joined) <= max_chars else joined[: max_chars - 1].rstrip() + "…"


def url(value: Any, *path: str) -> str:
    """Return the address at a path if it is one of HTTP; a link in Markdown can hold it."""
    found = get(value, *path)
    return checked_url(found) if isinstance(found, str) else ""


def checked_url(found: str) -> str:
    """Return the text if it is an address of HTTP; empty for anything else."""
    if len(found) > MAX_URL_CHARS or not _URL.fullmatch(found) or _UNSAFE.search(found):
        return ""
    return found.translate(_ESCAPED)


def link(label: str, address: str) -> str:
    """Return a link in Markdown, or the label if there is no address. A label that is an address is written out."""
    label = label.replace("[", "(").replace("]", ")").replace("\n", " ").strip()
    if not address:
        return label
    if not label or label == address:
        return address
    return f"{label} ({address})" if "://" in label else f"[{label}]({address})"


def color(value: Any) -> str:
    """Return a colour as `#rrggbb`: of a number, or of hexadecimal digits with or without `#`; empty for others."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"#{value:06x}" if 0 <= value <= 0xFFFFFF else ""
    if isinstance(value, str) and re.fullmatch(r"#?[0-9a-fA-F]{6}", value):
        return f"#{value[-6:].lower()}"
    return ""


def join(parts: list[str], separator: str = "\n") -> str:
    """Return the parts that are not empty, joined."""
    return separator.join(part for part in parts if part)
