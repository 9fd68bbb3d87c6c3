"""The rows of a batch of messages, and the statement that inserts them."""

# ruff: noqa: S608 - the statements are composed of constants

from collections.abc import Iterable
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec

from chatkit.backends.flags import flags_of
from chatkit.core.model import Draft, Message
from chatkit.core.text import fold as fold_text

# Numbers of rows for which the statement stays prepared. A batch uses the next larger size; unused rows are NULL.
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
MAX_ROWS = SIZES[-1]  # 13 values a row: fewer than the 32,766 that SQLite binds to a statement

PLAIN = ("id", "room", "seq", "time_ms", "sender", "body", "flags")  # most messages have no other columns
EXTRA = ("data", "key", "folded")
RELATION = ("of", "act", "mentions")  # bound only for a batch that is `related`

Extra: TypeAlias = tuple[str | None, str | None, str | None, int | None, str | None, str | None]

_encode = msgspec.json.Encoder().encode
_NO_EXTRA: Final = (None,) * len(EXTRA + RELATION)


class Rows:
    """The rows of one batch, as they are bound to the statement. If they are `related`, they are to be folded then."""

    __slots__ = ("count", "extras", "related", "values")

    def __init__(self) -> None:
        self.count = 0
        self.related = False  # one of them refers to a message, or mentions somebody
        self.values: list[Any] = []  # the PLAIN columns of all rows
        self.extras: dict[int, Extra] = {}  # the EXTRA and RELATION columns of the rows that have any

    def add(self, message: Message, id_: int, room_id: int) -> None:
        """Add a message as it is."""
        body = None if message.redacted else message.body
        self.values += (id_, room_id, message.seq, message.time_ms, message.sender, body, flags_of(message))
        self.add_extra(message)
        if message.redacted:
            self.extras[self.count] = (None, message.key, None, message.of, message.act, None)
        self.count += 1

    def add_extra(self, item: Draft | Message) -> None:
        """Add the EXTRA and RELATION columns of the next row."""
        self.extras[self.count] = extra_of(item)
        if item.of is not None or item.mentions:
            self.related = True

    @property
    def first_id(self) -> int:
        """The id of the first row."""
        return int(self.values[0])

    def parts(self) -> Iterable["Rows"]:
        """Split into parts of at most MAX_ROWS rows."""
        for start in range(0, self.count, MAX_ROWS):
            part = Rows()
            part.count = min(MAX_ROWS, self.count - start)
            part.values = self.values[start * len(PLAIN) : (start + part.count) * len(PLAIN)]
            part.related = self.related
            part.extras = {i - start: extra for i, extra in self.extras.items() if 0 <= i - start < part.count}
            yield part

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are bound."""
        return PLAIN if not self.extras else PLAIN + EXTRA + RELATION if self.related else PLAIN + EXTRA

    def bind(self, top: int) -> tuple[str, list[Any]]:
        """Return the statement and the values to bind to it; it inserts nothing unless `meta.top` is `top`."""
        size, columns = next(size for size in SIZES if size >= self.count), self.columns
        values = self.bind_values(size, len(columns))
        values.append(top)
        return insert_statement(size, columns), values

    def bind_values(self, size: int, width: int) -> list[Any]:
        """Return the values to bind to a statement of `size` rows with `width` columns."""
        values, n_plain = self.values, len(PLAIN)
        if self.extras:
            values = []
            for i in range(self.count):
                values += self.values[i * n_plain : (i + 1) * n_plain]
                values += self.extras.get(i, _NO_EXTRA)[: width - n_plain]
        return values + [None] * ((size - self.count) * width)


def extra_of(item: Draft | Message) -> Extra:
    """Return the EXTRA and RELATION columns of a draft or message."""
    data = None if item.data is None else _encode(item.data).decode()
    mentions = _encode(item.mentions).decode() if item.mentions else None
    return data, item.key, fold(item.body), item.of, item.act, mentions


def fold(body: str) -> str | None:
    """Return the folded body if SQLite's LIKE, which folds ASCII only and stops at NUL, needs it; else None."""
    folded = fold_text(body)
    is_plain = "\0" not in body and folded.encode() == body.encode().lower()  # bytes are lowered as ASCII
    return None if is_plain else folded


@cache
def insert_statement(size: int, columns: tuple[str, ...]) -> str:
    """Return the statement for a number of rows."""
    row = f"({', '.join('?' * len(columns))})"
    return (
        f"INSERT INTO message ({', '.join(columns)}) SELECT * FROM (VALUES {', '.join([row] * size)})"
        " WHERE column1 IS NOT NULL AND (SELECT top FROM meta) = ?"
    )
