"""Records: small versioned values that a store keeps beside its rooms, such as tokens, bans and settings of rooms.

Every change of a record, also its deletion, gets the next version of the store, so a process that asks for the changes
after the last version it has seen misses none. Knows nothing of what the values mean.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from chatkit.core.model import Cursor
from chatkit.errors import BadRequest

MAX_KIND_CHARS: Final = 32
MAX_KEY_BYTES: Final = 512  # of UTF-8: a room's and a consumer's name together
MAX_VALUE_BYTES: Final = 65_536  # like the data of a message


class Record(msgspec.Struct, frozen=True, gc=False):  # a store holds thousands; a collection would walk them all
    """The value of a key at one version of the store. `value` is None if the record was deleted."""

    kind: str
    key: str
    value: bytes | None
    version: int


class RecordChanges(msgspec.Struct, frozen=True):
    """The records that changed after a version, in the order of their versions, each in its newest state.

    `cursor` is the version to ask from next time. If `whole`, `records` are all records that exist, and what the caller
    knew before is void: it asked for the first time, or the store was wiped and its records began again.
    """

    cursor: Cursor
    records: Sequence[Record]
    whole: bool = False


def check_record(kind: str, key: str, value: bytes | None) -> None:
    """Raise `BadRequest` for a kind, key or value that a store need not keep."""
    if not key:
        raise BadRequest("the key of a record is not empty")
    check_prefix(kind, key)
    if value is not None and len(value) > MAX_VALUE_BYTES:
        raise BadRequest(f"the value of a record has at most {MAX_VALUE_BYTES} bytes")


def check_prefix(kind: str, prefix: str) -> None:
    """Raise `BadRequest` for a kind, or the beginning of a key, that no record can have."""
    if not (0 < len(kind) <= MAX_KIND_CHARS and kind.isascii() and kind.isidentifier()):
        raise BadRequest(f"the kind of a record is an ASCII identifier of at most {MAX_KIND_CHARS} characters")
    if len(prefix) > MAX_KEY_BYTES or len(_encode(prefix)) > MAX_KEY_BYTES or "\0" in prefix:
        raise BadRequest(f"the key of a record has at most {MAX_KEY_BYTES} bytes of UTF-8, without NUL")


def _encode(key: str) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("the key of a record is UTF-8 text") from error
