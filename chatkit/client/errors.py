"""A server's refusals as errors of ours: HTTP answers and close codes. Knows no socket."""

import msgspec

from chatkit.errors import ChatkitError
from chatkit.wire.codes import LAST_FATAL_CLOSE_CODE, code_of_close, code_of_status, error_of
from chatkit.wire.http import Problem


def refusal_of_response(status: int, body: bytes, retry_after: str | None = None) -> ChatkitError:
    """Make the error for an HTTP answer of 400 and above, from a server of ours or from something before it.

    `retry_after` is the header, where there is one.
    """
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem()
    return msgspec.structs.replace(
        problem,
        code=problem.code or _code_of(status),
        detail=problem.detail or problem.title or f"the server answered {status}",
        retry_after_s=_seconds(retry_after) if problem.retry_after_s is None else problem.retry_after_s,
    ).to_error()


def refusal_of_close(code: int, reason: str) -> ChatkitError | None:
    """Make the error for a close code after which a client must not come back; None for any other."""
    if not 4000 <= code <= LAST_FATAL_CLOSE_CODE:
        return None
    return error_of(code_of_close(code), reason or f"the server closed the connection with {code}")


def _code_of(status: int) -> str:
    # A gateway that fails may work later, whatever it calls the fault.
    return "unavailable" if status >= 500 else code_of_status(status)


def _seconds(retry_after: str | None) -> float | None:
    """Read the header `Retry-After`, unless it is a date."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1_000_000 else None
