"""A wheel that is built from the tree works in an empty environment: its command runs, and it serves the page."""

import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest
from serving import serve

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(TREE)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (built,) = folder.glob("chatkit-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python")]
    install = [*pip, "install", "--quiet", "--no-compile", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return folder


def test_the_wheel_holds_one_package_with_its_page_and_its_commands(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"chatkit"}
    assert {"chatkit/cli/serve.py", "chatkit/static/index.html", "chatkit/py.typed"} <= set(names)
    assert any(name.startswith("chatkit/backends/sqlite/") and name.endswith(".sql") for name in names)


def test_every_folder_with_code_or_files_is_a_package_of_the_wheel(wheel: Path) -> None:
    packages = {str(Path(name).parent) for name in zipfile.ZipFile(wheel).namelist()}
    folders = {path.parent for part in ("chatkit", "cli", "static") for path in (TREE / part).rglob("*.*")}
    names = {str(folder.relative_to(TREE)) for folder in folders if folder.name != "__pycache__"}
    assert {name if name.startswith("chatkit") else f"chatkit/{name}" for name in names} <= packages


def test_the_command_runs_and_the_page_is_served(environment: Path, tmp_path: Path) -> None:
    chatkit = str(environment / "bin/chatkit")
    shown = subprocess.run([chatkit, "--help"], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "serve" in shown.stdout
    kinds = {
        "/": "text/html",
        "/static/app.js": "text/javascript",
        "/static/style.css": "text/css",
        "/static/panes.css": "text/css",
    }
    with serve("memory://", folder=tmp_path, command=[chatkit]) as server:
        for path, kind in kinds.items():
            with urllib.request.urlopen(server.url + path) as response:
                assert response.headers.get_content_type() == kind
                assert response.read()
