"""Convert what a server refuses with, HTTP answers and close codes, to chatkit's errors. Does no I/O."""

from http import HTTPStatus
from math import inf

import msgspec

from chatkit.client.validation import MAX_NAME_CHARS, clamp_retry_after, shorten
from chatkit.errors import ChatkitError
from chatkit.wire.codes import LAST_FATAL_CLOSE_CODE, code_of_close, code_of_status, error_of
from chatkit.wire.http import Problem


def refusal_of_response(status: int, body: bytes, retry_after: str | None = None) -> ChatkitError:
    """Return the error for an HTTP answer that is no success, of a chatkit server or of a proxy in front of it.

    `retry_after` is the value of the header `Retry-After`, if there is one.
    """
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = Problem()
    retry_after_s = _parse_retry_after(retry_after) if problem.retry_after_s is None else problem.retry_after_s
    return msgspec.structs.replace(
        problem,
        code=shorten(problem.code, MAX_NAME_CHARS) or _code_of(status),
        detail=shorten(problem.detail or problem.title) or _sentence_of(status),
        retry_after_s=clamp_retry_after(retry_after_s),
    ).to_error()


def refusal_of_close(code: int, reason: str) -> ChatkitError | None:
    """Return the error for a close code after which a client must not reconnect; None for any other."""
    if not 4000 <= code <= LAST_FATAL_CLOSE_CODE:
        return None
    return error_of(code_of_close(code), reason or f"the server closed the connection with {code}")


def _code_of(status: int) -> str:
    # Every failure of a proxy may be over later, whatever its status. A 404 without a code is not chatkit's.
    return "unavailable" if status >= 500 or status == HTTPStatus.NOT_FOUND else code_of_status(status)


def _sentence_of(status: int) -> str:
    advice = ": this is not the address of a chatkit server, or a part of its path is missing"
    return f"the server answered {status}{advice if status == HTTPStatus.NOT_FOUND else ''}"


def _parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a header `Retry-After`; None for a date or anything else (RFC 9110, section 10.2.3)."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < inf else None
