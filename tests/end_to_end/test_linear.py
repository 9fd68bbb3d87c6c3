"""What a stranger sends is measured before it is worked on, and costs a time that is linear in its length.

Steps are counted, not timed: calls, and the characters that each call of a superlinear function is given.
"""

import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from chatkit.core import text as text_module
from chatkit.core.model import Cursor, check_body, check_key, check_room, check_sender
from chatkit.core.text import fold, normalize
from chatkit.errors import ChatkitError
from chatkit.protocols.head import MAX_HEAD_BYTES
from chatkit.server.access import AccessPolicy
from chatkit.server.client_address import TrustedProxies
from chatkit.server.connect_request import read_start
from chatkit.server.identity import bearer
from chatkit.server.page import _find, static_folder
from chatkit.server.routes import _read_time
from chatkit.server.session_cookie import cookie_values
from chatkit.server.settings import Settings
from chatkit.wire.protocol import decode_command, position, ref_of

MARKS = "\u0301\u0316"  # of two classes: normalization sorts them
GATE = AccessPolicy(Settings())
MAX_TEXT = 787_000  # what a frame may hold


def steps(work: Callable[[], Any]) -> int:
    """Return how many calls the work makes, of Python's functions and of C's."""
    count = 0

    def count_call(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(count_call)
    try:
        with suppress(ChatkitError):
            work()
    finally:
        sys.setprofile(None)
    return count


def cookies(header: str) -> list[bytes]:
    return [*cookie_values(header.encode(), b"t")]


PARSERS: dict[str, tuple[Callable[[str], Any], Callable[[int], str], int]] = {
    "room of marks": (check_room, lambda n: "a" + MARKS * (n // 2), MAX_TEXT),
    "sender of marks": (check_sender, lambda n: "a" + MARKS * (n // 2), MAX_TEXT),
    "sender of blanks": (check_sender, lambda n: " " * n, MAX_TEXT),
    "key": (check_key, lambda n: "k" * n, MAX_TEXT),
    "cursor": (Cursor.parse, lambda n: "e:" + "1" * n, MAX_TEXT),
    "position": (position, lambda n: "1" * n, MAX_TEXT),
    "body of marks": (lambda text: check_body(text, 65_536), lambda n: MARKS * (n // 2), MAX_TEXT),
    "fold": (fold, lambda n: MARKS * (n // 2), 32_768),
    "command": (decode_command, lambda n: '{"op":"members","room":"' + "a" * n + '"}', MAX_TEXT),
    "command of brackets": (decode_command, lambda n: "[" * n, MAX_TEXT),
    "ref": (ref_of, lambda n: '{"op":1,"ref":"' + '\\"' * (n // 2) + '"}', MAX_TEXT),
    "cookie pairs": (
        lambda header: [*cookie_values(header.encode(), b"t")],
        lambda n: "a=b;" * (n // 4),
        MAX_HEAD_BYTES,
    ),
    "cookies of ours": (
        lambda header: [*cookie_values(header.encode(), b"t")],
        lambda n: "t=b;" * (n // 4),
        MAX_HEAD_BYTES,
    ),
    "cookie blanks": (
        lambda header: [*cookie_values(header.encode(), b"t")],
        lambda n: "; " * (n // 2),
        MAX_HEAD_BYTES,
    ),
    "authorization": (bearer, lambda n: "Bearer " * (n // 7), MAX_TEXT),
    "forwarded for": (
        lambda text: TrustedProxies().client_address("", text),
        lambda n: "127.0.0.1," * (n // 10),
        MAX_HEAD_BYTES,
    ),
    "host": (GATE.check_host, lambda n: "a." * (n // 2), MAX_TEXT),
    "host of colons": (GATE.check_host, lambda n: "[" + ":" * n + "]", MAX_TEXT),
    "origin": (lambda origin: GATE.check_origin(origin, "h"), lambda n: "https://" + "a." * (n // 2), MAX_TEXT),
    "time": (_read_time, lambda n: "2026-11-20T11:47:21." + "1" * n, MAX_TEXT),
    "start": (lambda after: read_start(after, after), lambda n: "1" * n, MAX_TEXT),
    "path": (lambda path: _find(static_folder(), path), lambda n: "a/" * (n // 2), MAX_TEXT),
}


@pytest.mark.parametrize("name", PARSERS)
def test_input_is_processed_in_linear_time(name: str) -> None:
    parse, make, largest = PARSERS[name]
    half, whole = make(largest // 2), make(largest)
    steps(lambda: parse(half))  # what is made once is made
    assert steps(lambda: parse(whole)) <= 2 * steps(lambda: parse(half)) + 50


@pytest.mark.parametrize("check", [check_room, check_sender, normalize, fold])
def test_text_is_normalized_in_short_pieces(check: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    def count(form: Any, text: str) -> str:
        given.append(len(text))
        return unicodedata.normalize(form, text)

    monkeypatch.setattr(text_module, "unicodedata", SimpleNamespace(normalize=count, category=unicodedata.category))
    for text in ("a" + MARKS * 30_000, "e\u0301" * 30_000, "\u1112\u1161\u11ab" * 10_000):
        with suppress(ChatkitError):
            check(text)
    assert max(given, default=0) <= 256


@pytest.mark.parametrize(
    "text",
    ["e\u0301" * 1_000, "x" + "e\u0301" * 1_000, "\u1112\u1161\u11ab" * 500, "\u09c7\u09be" * 300, "\u0958z" * 200],
)
def test_a_long_text_is_normalized_as_a_whole(text: str) -> None:
    assert normalize(text) == unicodedata.normalize("NFC", text)


def test_a_long_path_is_not_looked_up(tmp_path: Any) -> None:
    class Nowhere:
        """Stands for a folder that must not be asked."""

        def __truediv__(self, _: str) -> None:
            raise AssertionError("the disk was asked")

    assert _find(Nowhere(), "a/" * 32_000) is None  # type: ignore[arg-type]
    assert _find(Nowhere(), "a" * 32_000) is None  # type: ignore[arg-type]
    (tmp_path / "page.html").write_text("")
    assert _find(tmp_path, "page.html") is not None
