"""A server's refusals as errors of ours: codes of events and problems, statuses without a code, close codes.

Knows no socket. The tables here are the only place where a code becomes a class.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from chatkit.errors import (
    BadBackendURL,
    BadBody,
    BadCursor,
    BadName,
    BadRequest,
    ChatkitError,
    Forbidden,
    NotAStore,
    NotFound,
    RateLimited,
    StoreError,
    StoreTooNew,
    TooLarge,
    TooManyRooms,
    Unauthorized,
    Unavailable,
    UnknownOp,
)

DEFAULT_RETRY_AFTER_S = 1.0  # for a server that says "too much" and not for how long

_BY_CODE: Final[dict[str, Callable[[str], ChatkitError]]] = {
    "bad-request": BadRequest,
    "bad-body": BadBody,
    "bad-room": lambda sentence: BadName("room", sentence),
    "bad-sender": lambda sentence: BadName("sender", sentence),
    "bad-key": lambda sentence: BadName("key", sentence),
    "bad-cursor": lambda sentence: BadCursor(_quoted(sentence)),
    "body-too-large": lambda sentence: TooLarge("body", _number(sentence)),
    "data-too-large": lambda sentence: TooLarge("data", _number(sentence)),
    "unknown-op": lambda sentence: UnknownOp(_quoted(sentence)),
    "too-many-rooms": lambda sentence: TooManyRooms(_number(sentence)),
    "not-found": NotFound,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "bad-backend-url": BadBackendURL,
    "bad-store": StoreError,
    "not-a-store": NotAStore,
    "store-too-new": StoreTooNew,
    "unavailable": Unavailable,
}
_CODE_BY_STATUS: Final = {401: "unauthorized", 403: "forbidden", 404: "not-found", 429: "rate-limited"}
_CODE_BY_CLOSE: Final = {4401: "unauthorized", 4403: "forbidden", 4404: "not-found"}


class Problem(msgspec.Struct, frozen=True):
    """An `application/problem+json` body, as far as it matters here."""

    code: str | None = None
    title: str | None = None
    detail: str | None = None
    retry_after_s: float | None = None


def refusal(code: str, sentence: str, retry_after_s: float | None = None) -> ChatkitError:
    """Make the error that a code stands for, in the server's own words; a code of a later version stays readable."""
    if code == RateLimited.code:
        return RateLimited(DEFAULT_RETRY_AFTER_S if retry_after_s is None else retry_after_s)
    error = _BY_CODE.get(code, ChatkitError)(sentence)
    error.args = (sentence,)
    error.code = code
    return error


def refusal_of_response(status: int, body: bytes, retry_after: str | None = None) -> ChatkitError:
    """Make the error for an HTTP answer of 400 and above, from a server of ours or from something before it."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem()
    code = problem.code or _CODE_BY_STATUS.get(status) or ("unavailable" if status >= 500 else "error")
    sentence = problem.detail or problem.title or f"the server answered {status}"
    retry_after_s = problem.retry_after_s
    if retry_after_s is None and retry_after is not None and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", retry_after):
        retry_after_s = float(retry_after)
    return refusal(code, sentence, retry_after_s)


def refusal_of_close(code: int, reason: str) -> ChatkitError | None:
    """Make the error for a close code that says not to come back; None for one after which to try again."""
    if not 4000 <= code <= 4499:
        return None
    return refusal(_CODE_BY_CLOSE.get(code, "error"), reason or f"the server closed the connection with {code}")


def _number(sentence: str) -> int:
    number = re.search(r"\d{1,18}", sentence)
    return int(number[0]) if number else 0


def _quoted(sentence: str) -> str:
    return sentence.partition("'")[2].rstrip("'")
