"""The bytes of a request's head: where it ends, and what is rewritten before the parser reads it. Keeps no state."""

import re
from typing import Final

MAX_HEAD_BYTES: Final = 16_384  # a request's line and headers in total; cookies rarely reach 8 KiB
MAX_HEADERS: Final = 128  # each costs memory whatever its length; browsers and proxies send some thirty
MASKED_UPGRADE: Final = b"x-declined-upgrade"  # the name under which the parser reads an `Upgrade` it must not act on

_END: Final = re.compile(rb"\n\r?\n")
_RAW: Final = re.compile(rb"[\x80-\xff]")
_UPGRADE: Final = re.compile(rb"(?<=\n)upgrade(?=:)", re.IGNORECASE)
_TO_WEBSOCKET: Final = re.compile(rb"\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)


def find_head_end(data: bytes | bytearray, n_searched: int = 0) -> int:
    """Return where the head ends, 0 if it is not whole; its first `n_searched` bytes were searched before."""
    found = _END.search(data, max(0, n_searched - 2))
    return found.end() if found else 0


def prepare_head(head: bytes, *, has_websocket: bool) -> bytes:
    """Return the head as the parser has to read it.

    Raw bytes in the target, as curl sends what was typed, are percent-encoded (WHATWG URL does the same). An `Upgrade`
    that is declined gets another name: the parser would stop at it and not read the body that belongs to the request.
    """
    if not head.isascii():
        line, newline, fields = head.partition(b"\n")
        head = _RAW.sub(lambda found: b"%%%02X" % found[0][0], line) + newline + fields
    if _UPGRADE.search(head) and not (has_websocket and _TO_WEBSOCKET.search(head)):
        head = _UPGRADE.sub(MASKED_UPGRADE, head)
    return head
