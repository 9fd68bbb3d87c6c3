"""The modules of the page that need no browser, tested in Node."""

import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).parent / "modules"


@pytest.mark.parametrize("name", sorted(path.name for path in MODULES.glob("*.test.mjs")))
def test_a_module_without_a_browser(name: str) -> None:
    command = ["node", "--test-reporter=dot", str(MODULES / name)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
