"""Reading frames: what the decoders of commands and of events share. Knows neither."""

from typing import Any, Final

import msgspec

from chatkit.core.json_decoder import decode_json
from chatkit.core.model import DEFAULT_LIMITS
from chatkit.errors import BadRequest

MAX_VALUES: Final = DEFAULT_LIMITS.body + 1_024  # brackets, braces or commas; a body of nothing else has as many


def check_values(text: bytes | str) -> None:
    """Raise `BadRequest` for JSON of a client with more values than any message has: to decode them takes too long."""
    if len(text) <= MAX_VALUES:
        return
    sent = text.encode(errors="replace") if isinstance(text, str) else text
    if sent.count(b",") > MAX_VALUES or sent.count(b"[") + sent.count(b"{") > MAX_VALUES:
        raise BadRequest(f"a message has at most {MAX_VALUES} values")


def field_of(frame: bytes | str, name: str) -> Any:
    """Return a field of a frame that could not be decoded as a whole; None if it has no such field."""
    try:
        value = decode_json(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value.get(name) if isinstance(value, dict) else None


def sentence_of(error: msgspec.ValidationError) -> str:
    """Return the sentence of a validation error, without msgspec's notation for paths."""
    # msgspec writes "Expected `str`, got `int` - at `$.body`": the `$.` means nothing to a reader.
    return str(error).replace("$.", "").replace("`$`", "the frame")
