"""Questions before what cannot be undone: which answers confirm it."""

import io
import sys

import pytest

from chatkit.cli.confirm import NotConfirmed, confirm
from chatkit.errors import BadRequest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " yes \n"])
def test_a_question_is_answered_with_yes(
    answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    confirm("Delete \x1b[2J it?", yes=False)
    assert capsys.readouterr() == ("", "Delete \u241b[2J it? [y/N] ")


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yes please\n"])
def test_any_other_answer_changes_nothing(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(NotConfirmed, match="nothing was changed"):
        confirm("Delete it?", yes=False)


def test_without_a_terminal_only_the_option_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    confirm("Delete it?", yes=True)
    with pytest.raises(BadRequest, match="confirm it with --yes"):
        confirm("Delete it?", yes=False)
