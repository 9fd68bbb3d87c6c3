"""A wheel works in an environment that has what it requires and nothing else: its command runs, and serves the page.

It is built from what the Dockerfile copies: this must be every part of the package.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from serving import serve

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("src")
    copy_as_the_dockerfile(source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (built,) = folder.glob("chatkit-*.whl")
    return built


def copy_as_the_dockerfile(folder: Path) -> None:
    """Copy what the Dockerfile copies to `/src` before it builds the package."""
    copied = re.findall(r"^COPY (.+) /src/(\S*)$", (TREE / "examples/deploy/Dockerfile").read_text(), re.MULTILINE)
    for sources, target in copied:
        for source in sources.split():
            place = folder / target
            if (TREE / source).is_dir():
                shutil.copytree(TREE / source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(TREE / source, place)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, with links to the packages that it requires: pip installed them here for the same metadata."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python")]
    install = [*pip, "install", "--quiet", "--no-compile", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, text=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (installed,) = packages.glob("chatkit-*.dist-info")
    for each in {found.name: found for found in required_by(PathDistribution(installed), [""])}.values():
        link(each, packages)
    return folder


def required_by(package: Distribution, extras: Sequence[str]) -> Iterator[Distribution]:
    """Yield the packages that one requires with these extras, in the versions that are here, and what they require."""
    for requirement in map(Requirement, package.requires or []):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            found = distribution(requirement.name)
            assert requirement.specifier.contains(found.version, prereleases=True), requirement
            yield found
            yield from required_by(found, ["", *requirement.extras])


def link(package: Distribution, folder: Path) -> None:
    """Make the files of an installed package available in another folder."""
    for name in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
        if not (folder / name).exists():  # a folder that several packages share
            (folder / name).symlink_to(Path(str(package.locate_file(name))))


def test_the_wheel_holds_one_package_with_its_page_and_its_commands(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"chatkit"}
    assert {"chatkit/cli/serve.py", "chatkit/static/index.html", "chatkit/py.typed"} <= set(names)
    assert "chatkit/backends/redis/lua/append.lua" in names
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
