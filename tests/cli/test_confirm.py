"""Questions before what cannot be undone: which answers confirm it."""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from chatkit.cli.confirm import NotConfirmed, confirm
from chatkit.errors import BadRequest

END = b"\x04"  # Ctrl-D


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Make standard input a terminal, and return a function that types into it."""
    keyboard, terminal = os.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda text: None if os.write(keyboard, text) == len(text) else pytest.fail("not written")
    os.close(keyboard)


@pytest.mark.parametrize("text", [b"y\n", b"YES\n", b" yes \n"])
def test_a_question_is_answered_with_yes(
    text: bytes, answer: Callable[[bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    answer(text)
    confirm("Delete \x1b[2J it?", yes=False)
    assert capsys.readouterr() == ("", "Delete \u241b[2J it? [y/N] ")


@pytest.mark.parametrize("text", [END, b"\n", b"n\n", b"yes please\n", b"\xff\n"])
def test_any_other_answer_changes_nothing(text: bytes, answer: Callable[[bytes], None]) -> None:
    answer(text)
    with pytest.raises(NotConfirmed, match="nothing was changed"):
        confirm("Delete it?", yes=False)


def test_an_answer_is_awaited_at_a_nonblocking_terminal(answer: Callable[[bytes], None]) -> None:
    os.set_blocking(sys.stdin.fileno(), False)
    typing = threading.Timer(0.1, answer, [b"y\n"])
    typing.start()
    confirm("Delete it?", yes=False)
    typing.join()


def test_without_a_terminal_only_the_option_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    confirm("Delete it?", yes=True)
    with pytest.raises(BadRequest, match="confirm it with --yes"):
        confirm("Delete it?", yes=False)
