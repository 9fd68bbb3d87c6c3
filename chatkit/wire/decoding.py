"""Reading frames: what the decoders of commands and of events share. Knows neither."""

from typing import Any

import msgspec


def field_of(frame: bytes | str, name: str) -> Any:
    """Return a field of a frame that could not be decoded as a whole; None if it has no such field."""
    try:
        value = msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value.get(name) if isinstance(value, dict) else None


def sentence_of(error: msgspec.ValidationError) -> str:
    """Return the sentence of a validation error, without msgspec's notation for paths."""
    # msgspec writes "Expected `str`, got `int` - at `$.body`": the `$.` means nothing to a reader.
    return str(error).replace("$.", "").replace("`$`", "the frame")
