"""The modules of the page that need no browser, tested in Node."""

import os
import subprocess
from pathlib import Path

import pytest
from serving import serve

MODULES = Path(__file__).parent / "modules"
ONLINE = ["client.test.mjs"]  # they need a server
OFFLINE = sorted(path.name for path in MODULES.glob("*.test.mjs") if path.name not in ONLINE)


@pytest.mark.parametrize("name", OFFLINE)
def test_a_module_by_itself(name: str) -> None:
    run_node(name, {})


@pytest.mark.parametrize("name", ONLINE)
def test_a_module_with_a_server(name: str, tmp_path: Path) -> None:
    with serve("memory://", "--rate-limit", "0", folder=tmp_path) as server:
        run_node(name, {"CHATKIT_TEST_SERVER": server.url})


def run_node(name: str, settings: dict[str, str]) -> None:
    command = ["node", "--test-reporter=spec", str(MODULES / name)]
    environment = {**os.environ, **settings}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_intervals_are_measured_by_a_clock_that_nobody_sets() -> None:
    static = Path(__file__).parents[2] / "static"
    users = {path.name for path in static.rglob("*.js") if "Date.now()" in path.read_text()}
    assert users == {"moderation.js"}  # the end of a ban, which the server compares with its clock
