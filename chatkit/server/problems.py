"""Errors as HTTP answers: `application/problem+json` (RFC 9457), with the same codes as on the WebSocket."""

import logging
from http import HTTPStatus
from math import ceil
from typing import Final

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException, ValidationException

from chatkit.errors import ChatkitError, TooLarge
from chatkit.server.error_pages import nothing_here, wants_page
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.token_masking import mask_tokens
from chatkit.wire.codes import code_of_status
from chatkit.wire.decoding import rule_of
from chatkit.wire.http import PROBLEM_MEDIA_TYPE, Problem

# Of the router's errors, which have none.
_SENTENCES: Final[dict[int, str]] = {
    HTTPStatus.NOT_FOUND: "there is nothing at this address: /schema describes the addresses of this server",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not have this method: the header Allow names those that it has",
}

_logger = logging.getLogger(__name__)


def answer_chatkit_error(request: HttpRequest, error: ChatkitError) -> Response[Problem]:
    """Answer with one of chatkit's own errors."""
    problem = problem_of(error)
    return _refuse(request, problem, headers_of(problem))


def answer_http_error(request: HttpRequest, error: HTTPException) -> Response[Problem] | Response[str]:
    """Answer with an error that Litestar raised, in the same form; a person gets a page for a wrong address."""
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # Litestar did not even read the body
        return answer_chatkit_error(request, TooLarge("body", request.app.state.admission.context.limits.body))
    problem = http_problem(error)
    if error.status_code == HTTPStatus.NOT_FOUND and wants_page(request):
        _count(request, problem)
        return nothing_here(request.app.state.path_prefix)
    return _refuse(request, problem, dict(error.headers or {}))


def http_problem(error: HTTPException) -> Problem:
    """Return an error that Litestar raised as a problem."""
    status = error.status_code
    return Problem(code_of_status(status), HTTPStatus(status).phrase, status, mask_tokens(_sentence(error)))


def answer_unexpected_error(request: HttpRequest, error: Exception) -> Response[Problem]:
    """Log an unexpected error, and answer without any detail of it."""
    return _refuse(request, unexpected(error), {})


def unexpected(error: Exception) -> Problem:
    """Log an unexpected error, and return a problem without any detail of it."""
    _logger.error("a request failed", exc_info=error)
    return Problem("internal", "Internal Server Error", 500, "the server failed; its log says how")


def problem_of(error: ChatkitError) -> Problem:
    """Return the error as a problem, with masked tokens: the text may repeat an address that holds one."""
    problem = Problem.of(error)
    value = None if problem.value is None else mask_tokens(problem.value)
    return msgspec.structs.replace(problem, detail=mask_tokens(problem.detail), value=value)


def headers_of(problem: Problem) -> dict[str, str]:
    """Return the header fields that belong to a problem, beside those of its body."""
    headers: dict[str, str] = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(ceil(problem.retry_after_s))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _refuse(request: HttpRequest, problem: Problem, headers: dict[str, str]) -> Response[Problem]:
    _count(request, problem)
    return Response(problem, status_code=problem.status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


def _count(request: HttpRequest, problem: Problem) -> None:
    request.app.state.admission.context.refusals.errors[problem.code] += 1


def _sentence(error: HTTPException) -> str:
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        wrong = ((found.get("key", "the input"), rule_of(found.get("message", ""))) for found in error.extra)
        return "; ".join(f"{name} {rule.removesuffix(', not text')}" for name, rule in wrong)  # a query is all text
    has_detail = error.detail != HTTPStatus(error.status_code).phrase
    return error.detail if has_detail else _SENTENCES.get(error.status_code, error.detail)
