"""The bytes of a request's head: where it ends, and what is rewritten before it is parsed. Keeps no state."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

MAX_HEAD_BYTES: Final = 16_384  # of the request line and all headers; cookies rarely reach 8 KiB
MAX_HEADERS: Final = 128  # each costs memory, however short; browsers and proxies send about thirty
MAX_ESCAPES_TIMES_BYTES: Final = 1 << 21  # 512 backslashes in a head of 4 KiB, and 128 in the longest
TOO_MANY_ESCAPES: Final = "the request's head has too many backslashes"
MASKED_UPGRADE: Final = b"x-declined-upgrade"  # replaces the name of an `Upgrade` header that is declined

_END: Final = re.compile(rb"\n\r?\n")
_RAW: Final = re.compile(rb"[\x80-\xff]")
_UPGRADE: Final = re.compile(rb"(?<=\n)upgrade(?=:)", re.IGNORECASE)
_TO_WEBSOCKET: Final = re.compile(rb"\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)


def find_head_end(data: bytes | bytearray, n_searched: int = 0) -> int:
    """Return where the head ends, or 0 if it is incomplete. Its first `n_searched` bytes were searched before."""
    found = _END.search(data, max(0, n_searched - 2))
    return found.end() if found else 0


def find_fault(headers: list[tuple[bytes, bytes]], version: str) -> tuple[HTTPStatus, str] | None:
    """Return why a request with these headers is rejected, or None. The names are in lower case."""
    if len(headers) > MAX_HEADERS:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request has at most {MAX_HEADERS} header fields"
    if not names_one_host(headers, version):
        return HTTPStatus.BAD_REQUEST, "a request names one host"
    if any(name == b"transfer-encoding" and value.strip().lower() != b"chunked" for name, value in headers):
        return HTTPStatus.NOT_IMPLEMENTED, "the only transfer coding of this server is chunked"
    return None


def names_one_host(headers: Iterable[tuple[bytes, bytes]], version: str) -> bool:
    """Return whether the number of Host headers is valid (RFC 9112, section 3.2); HTTP/1.0 may omit it."""
    n_hosts = [name for name, _ in headers].count(b"host")
    return n_hosts == 1 or (n_hosts == 0 and version == "1.0")


def has_costly_escapes(head: bytes) -> bool:
    r"""Return whether the head has so many backslashes that an application should not read its cookies.

    Python's `http.cookies` before 3.11.10 and 3.12.6 (CVE-2024-7592), and so `request.cookies` of many frameworks,
    searches the rest of a quoted value at each `\"`: that takes a second for 16 KiB of them.
    """
    return head.count(b"\\") * len(head) > MAX_ESCAPES_TIMES_BYTES


def prepare_head(head: bytes, *, has_websocket: bool) -> bytes:
    """Return the head in the form that the parser accepts.

    Raw bytes in the target, which curl sends as typed, are percent-encoded, as in the WHATWG URL standard. A declined
    `Upgrade` header is renamed: the parser would stop at it and not read the request's body.
    """
    if not head.isascii():
        line, newline, fields = head.partition(b"\n")
        head = _RAW.sub(lambda found: b"%%%02X" % found[0][0], line) + newline + fields
    if _UPGRADE.search(head) and not (has_websocket and _TO_WEBSOCKET.search(head)):
        head = _UPGRADE.sub(MASKED_UPGRADE, head)
    return head
