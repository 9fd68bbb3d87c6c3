"""The codes of errors: each has one row, is unchanged after sending, and is documented."""

import re
from pathlib import Path

import msgspec
import pytest

from chatkit import errors
from chatkit.errors import (
    BadBody,
    BadCursor,
    BadInput,
    BadName,
    BadRequest,
    ChatkitError,
    Forbidden,
    NotAStore,
    NotFound,
    RateLimited,
    RoomRenamed,
    StoreError,
    TooLarge,
    TooManyRooms,
    Unauthorized,
    Unavailable,
    UnknownOp,
)
from chatkit.wire.codes import (
    Details,
    ExitCode,
    close_code_of,
    code_of_close,
    code_of_status,
    details_of,
    error_of,
    exit_code_of,
    status_of,
)
from chatkit.wire.http import Problem
from chatkit.wire.protocol import ErrorEvent, decode_event, encode, error_event

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
CARRYING = [
    TooLarge("body", 65_536),
    TooLarge("data", 1 << 40),
    TooManyRooms(64),
    RateLimited(0.123456),
    BadCursor("it's 42"),
    RoomRenamed("ops", "x" * 64),
    UnknownOp('say "7"'),
    BadName("room", "of 1 to 64 characters"),
    BadName("sender", "short"),
    BadName("key", "short"),
]


def every_kind() -> list[type[ChatkitError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ChatkitError)]


def as_event(error: ChatkitError) -> ChatkitError:
    event = decode_event(encode(error_event(error, 7)))
    assert isinstance(event, ErrorEvent)
    return event.to_error()


def as_problem(error: ChatkitError) -> ChatkitError:
    return msgspec.json.decode(msgspec.json.encode(Problem.of(error)), type=Problem).to_error()


def fields(error: ChatkitError) -> dict[str, object]:
    return {"sentence": str(error), **vars(error), "code": error.code}


@pytest.mark.parametrize("carry", [as_event, as_problem])
@pytest.mark.parametrize("error", CARRYING, ids=str)
def test_an_error_arrives_with_its_class_sentence_and_values(error: ChatkitError, carry: type) -> None:
    arrived = carry(error)
    assert type(arrived) is type(error)
    assert fields(arrived) == fields(error)


@pytest.mark.parametrize("carry", [as_event, as_problem])
def test_numbers_are_not_parsed_from_the_sentence(carry: type) -> None:
    error = TooLarge("body", 65_536)
    error.args = ("line 12 holds 99 bytes too many",)
    arrived = carry(error)
    assert (str(arrived), arrived.max_bytes) == ("line 12 holds 99 bytes too many", 65_536)


@pytest.mark.parametrize("kind", every_kind())
def test_every_code_gives_its_class(kind: type[ChatkitError]) -> None:
    error = error_of(kind.code, "because of 7")
    assert (error.code, str(error)) == (kind.code, "because of 7")
    # Names (whose code depends on their kind), sizes, and other bad input have the code of a bad request.
    shared = kind in {ChatkitError, BadInput, BadName, BadRequest, TooLarge}
    assert type(error) is kind or (shared and type(error) in {ChatkitError, BadRequest})


def test_values_that_were_not_sent_are_none() -> None:
    too_large, too_many, limited = (
        error_of(code, "no 7") for code in ("data-too-large", "too-many-rooms", "rate-limited")
    )
    assert isinstance(too_large, TooLarge)
    assert isinstance(too_many, TooManyRooms)
    assert isinstance(limited, RateLimited)
    assert (too_large.max_bytes, too_many.max_rooms, limited.retry_after_s) == (None, None, 1.0)


def test_a_code_of_a_later_version_is_kept() -> None:
    error = error_of("of-the-future", "because", Details(limit=7))
    assert (type(error), error.code, str(error)) == (ChatkitError, "of-the-future", "because")
    assert (status_of(error), close_code_of(error), exit_code_of(error)) == (500, 1008, 1)


def test_an_error_of_an_application_has_the_codes_of_its_base_class() -> None:
    class Full(Unavailable):
        code = "full"

    error = Full("no room")
    assert (status_of(error), close_code_of(error), exit_code_of(error)) == (503, 4503, 3)


def test_a_refused_text_is_shortened() -> None:
    assert details_of(BadCursor("x" * 10_000)) == Details(value="x" * 80)


def test_close_codes_tell_whether_to_reconnect() -> None:
    assert [close_code_of(kind("no")) for kind in (Unauthorized, Forbidden, NotFound)] == [4401, 4403, 4404]
    assert [close_code_of(error) for error in (RateLimited(1), Unavailable("no"), BadBody("no"))] == [4508, 4503, 1008]
    assert [code_of_close(code) for code in (4401, 4403, 4404, 4508, 4503)] == [
        "unauthorized",
        "forbidden",
        "not-found",
        "rate-limited",
        "unavailable",
    ]
    assert {code_of_close(code) for code in (1000, 1008, 4000, 4499, 4999)} == {"error"}


def test_a_status_is_decoded_as_its_code() -> None:
    assert [code_of_status(status) for status in (400, 401, 403, 404, 405, 413, 429, 500, 503)] == [
        "bad-request",
        "unauthorized",
        "forbidden",
        "not-found",
        "method-not-allowed",
        "body-too-large",
        "rate-limited",
        "internal",
        "unavailable",
    ]
    assert code_of_status(418) == "error"


def test_exit_codes_distinguish_kinds_of_failures() -> None:
    assert exit_code_of(BadName("room", "short")) is ExitCode.WRONG_USAGE
    assert exit_code_of(TooLarge("body", 1)) is exit_code_of(BadBody("no")) is ExitCode.FAILED
    assert exit_code_of(Unavailable("no")) is exit_code_of(NotAStore("no")) is exit_code_of(StoreError("no"))
    assert exit_code_of(Unavailable("no")) is ExitCode.NO_SERVER
    assert exit_code_of(Unauthorized("no")) is exit_code_of(Forbidden("no")) is ExitCode.NOT_ALLOWED
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 130]


def test_the_document_lists_every_code_with_its_status() -> None:
    table = PROTOCOL.read_text().partition("## Error codes")[2]
    rows = re.findall(r"^\| (`.+?`) \| (\d+) \|", table, re.MULTILINE)
    documented = {code: int(status) for codes, status in rows for code in re.findall("`([a-z-]+)`", codes)}
    assert documented == {code: status_of(error_of(code, "")) for code in documented}
    of_the_wire = {error.code for error in CARRYING} | {"bad-request", "bad-body", "unauthorized", "forbidden"}
    assert of_the_wire | {"not-found", "unavailable"} <= documented.keys()
