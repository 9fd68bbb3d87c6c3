"""The numbers of RFC 6455: opcodes and close codes."""

from enum import IntEnum
from typing import Final


class Opcode(IntEnum):
    """The kind of a frame (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """The close codes of RFC 6455 section 7.4.1 and of IANA's list that a server sends or reads."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005  # a close frame without a code; never in a frame
    ABNORMAL = 1006  # no close frame at all; never in a frame
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012


_NEVER_SENT: Final = (1004, CloseCode.NO_STATUS, CloseCode.ABNORMAL)  # 1004 is reserved


def is_close_code(code: int) -> bool:
    """Return whether a close frame may carry the code (RFC 6455, IANA, and the ranges for applications)."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in _NEVER_SENT)
