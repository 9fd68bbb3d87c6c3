"""The records of access: their kinds, and the values that their bytes hold."""

import hashlib
from functools import lru_cache
from typing import Final, TypeVar

import msgspec

from chatkit.core.names import skeletons
from chatkit.core.records import MAX_KEY_BYTES, Record
from chatkit.errors import StoreError

TOKEN: Final = "token"  # by the token's id # noqa: S105 - not a secret
NAME: Final = "name"  # by `name_key` of each skeleton of the name
BAN: Final = "ban"  # by the ban's id
ROOM: Final = "room"  # by the room's name
FIRST_TOKEN: Final = "first_token"  # one: the claim to make the first token of the store # noqa: S105 - not a secret


class NameHolders(msgspec.Struct, frozen=True):
    """A name that is reserved, as it is written, and the ids of the tokens that hold it."""

    name: str
    token_ids: tuple[str, ...]


Value = TypeVar("Value", bound=msgspec.Struct)


def encode(value: msgspec.Struct) -> bytes:
    """Return the bytes that a record keeps of a value."""
    return msgspec.json.encode(value)


def decode(record: Record, kind: type[Value]) -> Value | None:
    """Return the value of a record, or None if the record was deleted. Raise `StoreError` if its bytes are not one."""
    if record.value is None:
        return None
    try:
        return msgspec.json.decode(record.value, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"the {record.kind} {record.key!r} cannot be read: {error}") from error


def name_key(skeleton: str) -> str:
    """Return the key under which a skeleton is reserved: the skeleton itself, or its hash if it is too long."""
    key = f"={skeleton}"
    return key if len(key.encode()) <= MAX_KEY_BYTES else f"#{hashlib.sha256(key.encode()).hexdigest()}"


@lru_cache(maxsize=1024)
def name_keys(name: str) -> tuple[str, ...]:
    """Return the keys of the records that reserve a name: one for each of its skeletons."""
    return tuple(map(name_key, skeletons(name)))


def replace_value(values: dict[str, Value], record: Record, kind: type[Value]) -> tuple[Value | None, Value | None]:
    """Set or remove the value of a record; return the value before and after. One that cannot be read is removed."""
    before = values.pop(record.key, None)
    value = decode(record, kind)
    if value is not None:
        values[record.key] = value
    return before, value
