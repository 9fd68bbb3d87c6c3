"""What each package loads when it is imported, and the contracts on imports between packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).parent / "lint-imports"

HEAVY = ("litestar", "typer", "uvicorn", "websockets", "textual", "redis", "asyncpg", "sqlite3", "rich", "pydantic")


def loaded_by(statement: str, names: tuple[str, ...]) -> list[str]:
    """Return the modules, of those named, that a new interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_chatkit_loads_no_heavy_module() -> None:
    assert loaded_by("import chatkit", HEAVY) == []


def test_importing_the_core_loads_no_heavy_module() -> None:
    assert loaded_by("import chatkit.core.model, chatkit.core.hub, chatkit.wire.protocol", HEAVY) == []


def test_importing_the_client_loads_no_heavy_module() -> None:
    assert loaded_by("import chatkit.client", HEAVY) == []


def test_importing_the_plugin_for_tests_loads_nothing_but_pytest() -> None:
    names = (*HEAVY, "msgspec", "chatkit.client", "chatkit.bench", "chatkit.core", "chatkit.pytest_plugin.relay")
    assert loaded_by("import chatkit.pytest_plugin.fixtures", names) == []


def test_importing_the_connection_loads_only_websockets() -> None:
    assert loaded_by("import chatkit.client.connection", HEAVY) == ["websockets"]


def test_importing_the_commands_loads_only_typer() -> None:
    names = tuple(name for name in HEAVY if name not in {"typer", "rich", "pydantic"})
    assert loaded_by("import chatkit.cli", (*names, "asyncio", "http.client", "chatkit.client", "chatkit.server")) == []


def test_importing_the_server_does_not_load_the_sdk_for_agents() -> None:
    assert loaded_by("import chatkit.server.app", ("mcp", "mcp_types")) == []


def test_starting_the_server_loads_no_pydantic() -> None:
    start = """
import asyncio
from chatkit.server.app import open_app
from chatkit.server.settings import Settings
async def start():
    async with open_app(Settings(backend="memory://")):
        pass
asyncio.run(start())"""
    assert loaded_by(start, ("pydantic", "attrs", "litestar")) == ["litestar"]


@pytest.mark.parametrize("module", ["model", "segment", "roster"])
def test_the_synchronous_core_imports_no_event_loop_clock_or_log(module: str) -> None:
    # Checks the names in the module, because typing and msgspec load parts of the standard library themselves.
    code = f"import chatkit.core.{module} as m\nprint(*[n for n in ('asyncio', 'time', 'logging') if hasattr(m, n)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


PROBES = {
    "client/client.py": ("chatkit.client.client", ("chatkit.core.hub", "chatkit.session.session", "chatkit.cli")),
    "core/model.py": ("chatkit.core.model", ("chatkit.wire.protocol",)),
    "errors.py": ("chatkit.errors", ("chatkit.cli.options",)),
}


def test_imports_against_the_layers_break_the_contracts(tmp_path: Path) -> None:
    tree = tmp_path / "chatkit"
    shutil.copytree(ROOT / "chatkit", tree, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("cli", "static"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    assert "BROKEN" not in contracts(tmp_path)
    for file, (_, targets) in PROBES.items():
        with (tree / file).open("a") as module:
            module.writelines(f"\nimport {target}" for target in targets)
    report = contracts(tmp_path)
    for source, targets in PROBES.values():
        for target in targets:
            assert f"{source} -> {target} (" in report, report


def contracts(tree: Path) -> str:
    """Return import-linter's report on the package in a folder."""
    command = [str(LINT), "--no-cache", "--no-logo", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        command, cwd=tree, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True, check=False
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return str(done.stdout)
