"""Reading frames: what the decoders of commands and of events share. Knows neither."""

import re
from typing import Any, Final

import msgspec

from chatkit.core.json_decoder import decode_json
from chatkit.core.model import DEFAULT_LIMITS
from chatkit.errors import BadRequest

_MISSING: Final = re.compile("Object missing required field `(.+)`")
_UNKNOWN: Final = re.compile("Object contains unknown field `(.+)`", re.DOTALL)
_EXPECTED: Final = re.compile("Expected `([^`]+)`(?:, got `([^`]+)`| of length ([^ ]* ?[0-9]+)| ([<>]=? [^ ]+))")
_NAMES: Final = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "array": "a list",
    "object": "an object",
}  # fmt: skip
_SIGNS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}

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


def sentence_of(error: msgspec.ValidationError, whole: str = "the frame") -> str:
    """Return what is wrong with a value in plain words. `whole` is the subject if that is the value itself."""
    found, _, path = str(error).partition(" - at ")
    field = path.strip("`").removeprefix("$").removeprefix(".")
    if name := _MISSING.fullmatch(found):
        return f"{name[1]} is missing" + (f" in {field}" if field else "")
    if name := _UNKNOWN.fullmatch(found):
        return f"there is no field {name[1]}" + (f" in {field}" if field else "")
    return f"{field or whole} {rule_of(found)}"


def rule_of(found: str) -> str:
    """Return msgspec's description of a wrong value as the end of a sentence whose subject is the value."""
    expected = _EXPECTED.fullmatch(found)
    if expected is None:
        return f"is not valid ({found[:1].lower()}{found[1:]})"
    types, got, length, bound = expected.groups()
    rule = "must be " + " or ".join(_NAMES.get(name, name) for name in types.split(" | "))
    if length:
        unit = "item" if types == "array" else "character"
        return f"{rule} of {_bound(length)} {unit}{'' if length.endswith(' 1') else 's'}"
    return f"{rule} of {_bound(bound)}" if bound else f"{rule}, not {_NAMES.get(got, got)}"


def _bound(text: str) -> str:
    for sign, words in _SIGNS.items():
        text = text.replace(sign, words)
    return text
