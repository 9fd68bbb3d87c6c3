"""The README matches the program: commands, output, excerpts and links."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from serving import clean_environment, serve

TREE = Path(__file__).parents[2]
README = (TREE / "README.md").read_text()
PAGES = [TREE / "README.md", TREE / "CONTRIBUTING.md", *(TREE / "docs").glob("*.md")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(*words: str, folder: Path, stdin: str = "") -> str:
    env = clean_environment({"NO_COLOR": "1", "COLUMNS": "200"})
    command = [sys.executable, "-m", "chatkit.cli", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=folder, env=env, check=True).stdout


def test_every_command_stands_in_the_table_and_every_row_is_a_command(tmp_path: Path) -> None:
    shown = set(re.findall(r"^  (\w+) ", run("--help", folder=tmp_path).partition("Commands")[2], re.MULTILINE))
    assert shown == set(re.findall(r"^\| `chatkit (\w+)", README, re.MULTILINE))


def test_the_tour_shows_the_actual_output(tmp_path: Path) -> None:
    tour = blocks("console")[1]
    with serve(tmp_path / "rooms.db") as server:
        to = ("--server", server.url)
        run("publish", "ops", "--name", "cron", *to, folder=tmp_path, stdin="backup done\n")
        run("publish", "ops", "well done, cron", "--name", "ann", *to, folder=tmp_path)
        run("publish", "ops", "from curl", "--name", "web", *to, folder=tmp_path)
        history, rooms = run("history", "ops", *to, folder=tmp_path), run("rooms", *to, folder=tmp_path)
    timeless = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    for printed in (history, rooms):
        for line in timeless.sub("TIME", printed).splitlines():
            assert line.rstrip() in timeless.sub("TIME", tour)


def test_the_start_message_is_the_servers(tmp_path: Path) -> None:
    with serve("memory://", folder=tmp_path) as server:
        pass
    log = server.log  # complete: the server has ended
    for line in blocks("console")[0].splitlines()[2:]:
        words = line.replace("http://127.0.0.1:8000", server.url).rstrip()
        assert words in log


def test_the_commands_accept_the_settings_file(tmp_path: Path) -> None:
    (settings,) = blocks("toml")
    (tmp_path / "chatkit.toml").write_text(settings)
    assert "chatkit serve" in run("serve", "--help", folder=tmp_path)


def test_the_excerpt_is_from_the_example() -> None:
    (excerpt,) = [block for block in blocks("python") if "def receive" in block]
    assert excerpt in (TREE / "examples/thirty_lines.py").read_text()


def test_the_client_example_runs(tmp_path: Path) -> None:
    (example,) = [block for block in blocks("python") if "Client(" in block]
    with serve(tmp_path / "rooms.db") as server:
        script = example.replace("http://127.0.0.1:8000", server.url).replace("print(message)", "return print(message)")
        script = script.replace('"bot is up")', '"bot is up")\n        await client.publish("ops", "and again")')
        done = subprocess.run(
            [sys.executable, "-c", script.replace("history=0", "history=1")],
            capture_output=True, text=True, cwd=tmp_path, env=clean_environment({}), timeout=60, check=True,
        )  # fmt: skip
    assert "and again" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_have_targets(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_dependency_has_its_reason() -> None:
    declared = re.search(r"\ndependencies = \[(.*?)\]", (TREE / "pyproject.toml").read_text(), re.DOTALL)
    assert declared is not None
    names = set(re.findall(r'"([a-z]+)>=', declared[1]))
    reasons = README.partition("## Dependencies")[2]
    assert names
    assert {name for name in names if name not in reasons} == set()
