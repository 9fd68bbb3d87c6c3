"""What the documentation shows exists and works: commands, options, settings, requests, and names in Python."""

import ast
import importlib
import json
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import clean_environment, serve

from chatkit.cli.main import build_commands

TREE = Path(__file__).parents[2]
PAGES = [TREE / "README.md", *sorted((TREE / "docs").glob("*.md"))]
SEPARATORS = {"|", "&&", ";", "&", ">", ">>", "<", "(", ")"}
ASSIGNMENT = re.compile(r"[A-Z_]+=")


def commands_of_consoles(page: str) -> Iterator[list[str]]:
    """Iterate over the words of each `chatkit` command in the page's consoles, also of one in a pipe."""
    for console in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for line in re.findall(r"^\$ (.*)$", console, re.MULTILINE):
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            command: list[str] = []
            for word in [*lexer, ";"]:
                if word in SEPARATORS:
                    if command[:1] == ["chatkit"]:
                        yield command[1:]
                    command = []
                elif command or not ASSIGNMENT.match(word):
                    command.append(word)


def left_over_of(words: list[str]) -> list[str]:
    """Parse a command without running it, and return the words that it does not understand."""
    context = build_commands().make_context("chatkit", list(words))
    while hasattr(context.command, "resolve_command"):
        name, command, rest = context.command.resolve_command(context, context._protected_args + context.args)
        context = command.make_context(name, rest, parent=context)
    return list(context.args)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_the_consoles_are_understood(page: Path) -> None:
    for words in commands_of_consoles(page.read_text()):
        assert left_over_of(words) == [], words


def options_of(command: Any) -> set[str]:
    return {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}


def find_command(words: list[str]) -> Any:
    command = build_commands()
    for word in words[1:]:
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
    return command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_options_that_a_sentence_names_with_their_command_exist(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for span in re.findall(r"`(chatkit [^`]+)`", prose.replace("\n", " ")):
        words = span.replace("\\|", "|").split(" -- ")[0].split()
        options = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
        assert options - options_of(find_command(words)) == set(), span


def test_the_settings_that_the_documentation_names_exist() -> None:
    def variables(command: Any) -> Iterator[str]:
        for param in command.params:
            yield from [param.envvar] if isinstance(param.envvar, str) else param.envvar or []
        for each in getattr(command, "commands", {}).values():
            yield from variables(each)

    named = {name for page in PAGES for name in re.findall(r"\bCHATKIT_[A-Z_]+\b", page.read_text())}
    for_handlers = {"CHATKIT_ROOM", "CHATKIT_SEQ", "CHATKIT_SENDER", "CHATKIT_KEY"}  # `chatkit on` sets them
    assert named - for_handlers - set(variables(build_commands())) == set()


def requests_of(page: str) -> list[str]:
    """Return the lines of a page that call `curl`."""
    return re.findall(r"^\$ (curl .*?(?:8000|\$SERVER)/.*?)(?: +#.*)?$", (TREE / page).read_text(), re.MULTILINE)


def test_the_requests_of_the_documentation_are_answered(tmp_path: Path) -> None:
    lines = [*requests_of("README.md"), *requests_of("docs/consumers.md")]
    assert len(lines) == 6
    with serve(tmp_path / "rooms.db") as server:
        lease = ""
        for line in lines:
            command = line.replace("http://127.0.0.1:8000", server.url).replace("127.0.0.1:8000", server.url)
            command = command.replace("l5yT0dRk3WqA", lease)
            is_stream = " -N " in command
            script = f"{command} --fail-with-body --silent --show-error"
            script = f"head -c 1 < <({script} 2> /dev/null)" if is_stream else script
            environment = clean_environment({"SERVER": server.url})
            done = subprocess.run(
                ["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=30, check=False
            )
            assert (done.returncode, bool(done.stdout)) == (0, True), (line, done.stdout, done.stderr)
            lease = "" if is_stream else json.loads(done.stdout).get("lease", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_is_valid_and_its_names_can_be_imported(page: Path) -> None:
    for block in re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE):
        tree = compile(textwrap.dedent(block), page.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chatkit"):
                module = importlib.import_module(node.module or "")
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []
