"""QR codes in the terminal: they show the modules of the code, fit the terminal, and appear nowhere else."""

import re
import subprocess
import sys

import pytest
import segno

from chatkit.cli.invite import print_invite
from chatkit.cli.qr_code import CHARACTERS, COLORS, RESET, qr_lines
from chatkit.core.access import Grant, Right
from chatkit.core.token import TokenKind
from chatkit.wire.access import NewTokenView

LINK = "https://chat.example.org/#invite=ck_abcdefghij_" + "x" * 43
VIEW = NewTokenView(
    "abcdefghij", "invite", TokenKind.INVITE, (Grant("ops", (Right.READ,)),), "2026-11-20T11:47:21.123Z", "ann",
    "2026-11-27T11:47:21.123Z", 1, secret="s",
)  # fmt: skip
HALVES = {"█": "11", "▀": "10", "▄": "01", " ": "00"}


def modules(lines: list[str], dark: str) -> list[str]:
    """Return the rows of modules that lines of half blocks show, with `1` for the dark ones."""
    rows = [["".join(HALVES[char][half] for char in line) for half in (0, 1)] for line in lines]
    flat = [row for pair in rows for row in pair]
    return flat if dark == "1" else [row.translate({48: 49, 49: 48}) for row in flat]


def expected(border: int) -> list[str]:
    code = segno.make(LINK, error="l", boost_error=False, micro=False)
    return ["".join(map(str, row)) for row in code.matrix_iter(border=border)]


def test_a_coloured_code_is_black_on_white() -> None:
    lines = qr_lines(LINK, 80, color=True)
    assert all(line.startswith(COLORS) and line.endswith(RESET) for line in lines)
    shown = modules([line.removeprefix(COLORS).removesuffix(RESET) for line in lines], dark="1")
    assert shown[: len(expected(4))] == expected(4)
    assert not any("1" in row for row in shown[len(expected(4)) :])


def test_a_code_without_colours_draws_the_light_modules() -> None:
    lines = qr_lines(LINK, 80, color=False)
    assert set("".join(lines)) <= set(CHARACTERS)
    assert modules(lines, dark="0")[: len(expected(4))] == expected(4)


@pytest.mark.parametrize(("columns", "border"), [(45, 4), (43, 3), (40, 1), (39, 1), (38, 0)])
def test_the_quiet_zone_shrinks_until_the_code_does_not_fit(columns: int, border: int) -> None:
    lines = qr_lines(LINK, columns, color=False)
    assert bool(lines) == bool(border)
    assert all(len(line) == 37 + 2 * border for line in lines)


def test_an_invite_is_a_code_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_invite(VIEW, LINK)
    assert capsys.readouterr() == (f"{LINK}\n", "")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_invite(VIEW, LINK)
    printed = capsys.readouterr()
    assert printed.out.endswith(f"\n{LINK}\n")
    assert "█" in printed.out
    assert "\x1b" not in printed.out
    assert re.search(r"for one person, until 2026-11-\d\d \d\d:\d\d:\d\d, with the rights ops:read", printed.err)


def test_neither_the_library_nor_the_client_is_loaded_before_a_command_runs() -> None:
    check = "import sys, chatkit.cli.main; print({'segno', 'asyncio', 'chatkit.client'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=True).stdout == b"set()\n"
