"""What importing each package brings along: a program that reads a room does not pay for a server."""

import subprocess
import sys

import pytest

HEAVY = ("litestar", "typer", "uvicorn", "websockets", "textual", "redis", "asyncpg", "sqlite3", "rich", "pydantic")


def loaded_by(statement: str, names: tuple[str, ...]) -> list[str]:
    """Return which of the modules a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_chatkit_brings_nothing_heavy() -> None:
    assert loaded_by("import chatkit", HEAVY) == []


def test_importing_the_core_brings_nothing_heavy() -> None:
    assert loaded_by("import chatkit.core.model, chatkit.core.hub, chatkit.wire.frames", HEAVY) == []


def test_importing_the_client_brings_no_server_and_no_command() -> None:
    assert loaded_by("import chatkit.client", HEAVY) == []


def test_importing_the_link_brings_websockets_alone() -> None:
    assert loaded_by("import chatkit.client.link", HEAVY) == ["websockets"]


def test_importing_the_commands_brings_typer_alone() -> None:
    names = tuple(name for name in HEAVY if name not in {"typer", "rich", "pydantic"})
    assert loaded_by("import chatkit.cli", (*names, "asyncio", "http.client", "chatkit.client", "chatkit.server")) == []


@pytest.mark.parametrize("module", ["model", "feed", "roster"])
def test_the_synchronous_core_has_no_loop_no_clock_and_no_log(module: str) -> None:
    # typing and msgspec bring some of the standard library of their own accord: what counts is what the module names.
    code = f"import chatkit.core.{module} as m\nprint(*[n for n in ('asyncio', 'time', 'logging') if hasattr(m, n)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_nobody_imports_the_commands() -> None:
    statement = "import chatkit.client.link, chatkit.server.runner, chatkit.backends.sqlite"
    assert loaded_by(statement, ("chatkit.cli", "typer")) == []
