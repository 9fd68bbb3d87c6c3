"""JSON of no known sender: stored as data if it fits, with a body of readable lines. And plain text."""

from typing import Any, Final

import msgspec

from chatkit.core.model import check_data
from chatkit.errors import BadBody, TooLarge
from chatkit.server.hooks import payload
from chatkit.server.hooks.message import HookMessage
from chatkit.wire.messages import encode

MAX_LINES: Final = 30  # of the values of an object or a list
MAX_VALUE_CHARS: Final = 500  # of a value in a line
NOT_STORED: Final = "… (the rest was not stored: the payload was too large)"


def convert(sent: Any, max_bytes: int) -> HookMessage:
    """Return the message of a JSON value. Data larger than `max_bytes`, or nested too deep, is left out."""
    try:
        data, note = check_data(sent, max_bytes), ""
    except (TooLarge, BadBody):
        data, note = None, NOT_STORED
    return HookMessage(payload.join([_text(sent), note]), data=data)


def _text(sent: Any) -> str:
    match sent:
        case dict() if sent:
            pairs = list(sent.items())
            lines = [
                f"{payload.one_line(payload.clean(key), 100)}: {_value(value)}" for key, value in pairs[:MAX_LINES]
            ]
        case list() if sent:
            pairs = sent
            lines = [f"- {_value(value)}" for value in sent[:MAX_LINES]]
        case _:
            return _value(sent)
    more = len(pairs) - len(lines)
    return "\n".join([*lines, *([f"… and {more:,} more"] if more else [])])


def _value(value: Any) -> str:
    """Return a value on one line: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return payload.one_line(payload.clean(value), MAX_VALUE_CHARS) or '""'
    try:
        return payload.one_line(payload.clean(encode(value).decode()), MAX_VALUE_CHARS)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):  # such as an integer without end
        return "…"
