"""JsonDecoder: decodes JSON of others in a short time, whatever numbers it holds.

msgspec needs 20 µs for a number that is far from 1, such as `1e300`: five seconds for a megabyte of them, in which
nothing else runs. Python needs a tenth of a microsecond, so a text with such numbers is decoded with Python's `float`.
"""

import re
from math import isinf
from typing import Any, Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

SHORT: Final = 256  # bytes, which msgspec decodes in a millisecond, whatever they are
_FAR: Final = rb"[0-9][eE][-+]?[0-9]{3}"  # msgspec is slow from 1e289 on, and below 1e-307
_FAR_BYTES: Final = re.compile(_FAR)
_FAR_TEXT: Final = re.compile(_FAR.decode())


class JsonDecoder(Generic[T]):
    """Decodes JSON as values of one type, with the errors of msgspec."""

    def __init__(self, kind: Any = Any) -> None:
        self._decode = msgspec.json.Decoder(kind).decode
        self._decode_far = msgspec.json.Decoder(kind, float_hook=_read_float).decode

    def decode(self, text: bytes | str) -> T:
        """Return the value. Raise `DecodeError`, `UnicodeDecodeError` or `RecursionError`."""
        value: T = (self._decode_far if _is_far(text) else self._decode)(text)
        return value


def _is_far(text: bytes | str) -> bool:
    if len(text) <= SHORT:
        return False
    return (_FAR_TEXT.search(text) if isinstance(text, str) else _FAR_BYTES.search(text)) is not None


def _read_float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError("a number is out of range")
    return number


decode_json: Final = JsonDecoder[Any]().decode
"""Decode JSON of any kind."""
