"""Help: examples, defaults and widths of terminals; and the completion of room names."""

import re

import pytest
from cli_process import Shell

pytest_plugins = ["shell_fixtures"]


def test_help_lists_the_commands_and_their_examples(shell: Shell) -> None:
    assert shell.run("--version").startswith("chatkit ")
    for command in ("serve", "join", "publish", "history", "rooms"):
        assert command in shell.run("--help")
        assert f"\nExamples:\n  chatkit {command}" in shell.run(command, "--help")


def test_help_describes_the_defaults(shell: Shell) -> None:
    assert "Without it, all are kept." in shell.run("serve", "--help")
    assert "Without it, your login name is used." in shell.run("join", "--help")


@pytest.mark.parametrize("command", ["", "serve", "join", "publish", "history", "rooms", "bench"])
@pytest.mark.parametrize("width", [40, 80])
def test_help_fits_the_terminal(shell: Shell, command: str, width: int) -> None:
    shell.env["COLUMNS"] = str(width)
    for line in shell.run(*command.split(), "--help").splitlines():
        assert len(line) <= width or len(line.split()) == 1


@pytest.mark.parametrize("command", ["serve", "join", "publish", "history", "rooms", "bench"])
def test_help_names_no_types_of_the_programming_language(shell: Shell, command: str) -> None:
    assert not re.search(r"<\w+|x[<>]=|\[str\]", shell.run(command, "--help"))


# Completion


def test_room_names_are_completed_from_the_server(shell: Shell) -> None:
    shell.run("publish", "complete-me", "hi")
    shell.env |= {"_CHATKIT_COMPLETE": "complete_bash", "COMP_WORDS": "chatkit join compl", "COMP_CWORD": "2"}
    assert shell.run() == "complete-me\n"


def test_room_names_are_completed_from_the_server_in_the_file(shell: Shell) -> None:
    shell.run("publish", "filed-room", "hi")
    (shell.folder / "chatkit.toml").write_text(f'server = "{shell.env.pop("CHATKIT_SERVER")}"\n')
    shell.env |= {"_CHATKIT_COMPLETE": "complete_bash", "COMP_WORDS": "chatkit join filed", "COMP_CWORD": "2"}
    assert shell.run() == "filed-room\n"
    (shell.folder / "chatkit.toml").write_text("server =")  # the command reports the mistake, not the completion
    shell.env["COMP_WORDS"], shell.env["COMP_CWORD"] = "chatkit hist", "1"
    assert shell.run() == "history\n"
    assert shell.stderr == ""
