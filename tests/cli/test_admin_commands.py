"""The commands that administer a store: their audit, help, refusals and settings."""

import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from admin_store import STORE, audit
from cli_runner import CommandRunner

from chatkit.cli.config import CLIENT_COMMANDS, CLIENT_GROUPS
from chatkit.cli.main import app

pytest_plugins = ["admin_fixtures"]


# Audit


def test_the_audit_names_the_login_name_and_the_store(chatkit: CommandRunner) -> None:
    chatkit.run("token", "add", "ann", "--read", "*")
    chatkit.run("ban", "add", "bob")
    chatkit.run("publish", "ops", "hi")
    chatkit.run("redact", "ops", "1", "--yes")
    chatkit.run("redact", "ops", "1", "--yes")  # redacted already: this changes nothing
    entries = audit(chatkit)
    assert [entry["event"] for entry in entries] == ["token-added", "ban-added", "message-redacted"]
    assert {(entry["by"], entry["from"]) for entry in entries} == {("carol", "store")}
    assert chatkit.run("rooms", ".audit").startswith("room      .audit\n")
    assert "a room is 1 to 64" in chatkit.refused("redact", ".audit", "1", "--yes")


PAGE = (Path(__file__).parents[2] / "docs/access.md").read_text()
LINES = [shlex.split(line) for line in re.findall(r"^\$ chatkit (.*?)(?: > .*)?$", PAGE, re.MULTILINE)]


def test_the_commands_of_the_page_about_access_work_in_its_order(chatkit: CommandRunner) -> None:
    for words in LINES:
        if words[0] not in {"serve", "redeem"}:  # they open no store
            chatkit.run(*words)
    assert {view["name"] for view in chatkit.rows("token", "list")} == {
        "ann", "bob", "invite", "guest", "cron", "deploy",
    }  # fmt: skip
    assert len(audit(chatkit)) == 8


# Help


COMMANDS = [
    ["invite"],
    *([name] for name in ("reply", "edit", "react", "redact", "history", "unread", "mentions")),
    *([group, name] for group, names in CLIENT_GROUPS.items() for name in names),
]


@pytest.mark.parametrize("width", ["40", "80"])
def test_help_has_examples_and_fits_the_terminal(
    chatkit: CommandRunner, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    for words in COMMANDS:
        shown = chatkit.run(*words, "--help")
        assert f"\nExamples:\n  chatkit {words[0]}" in shown
        assert not re.search(r"<\w+|x[<>]=|\[str\]", shown)
        assert not [line for line in shown.splitlines() if len(line) > int(width) and len(line.split()) > 1]


def test_a_group_without_a_command_prints_its_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = CommandRunner(tmp_path, monkeypatch)
    assert bare.run("token", status=2) == ""
    assert "\n  rotate " in bare.stderr


# What is refused


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["token", "add", "ann"], "no rights are given: name rooms, for example --read ops --write ops"),
        (
            ["token", "add", "ann", "--read", "a b"],
            "a pattern is a room, the beginning of rooms with '*', or '*': 'a b'",
        ),
        (["token", "add", "ann", "--read", "*ops"], "a pattern is a room"),
        (["token", "add", "a\u202eb", "--read", "*"], "a sender is"),
        (["token", "add", "ann", "--read", "*", "--expires", "2020-01-01"], "'2020-01-01' is over already"),
        (["token", "add", "ann", "--read", "*", "--expires", "0s"], "'0s' is over already"),
        (
            ["token", "add", "ann", "--read", "*", "--expires", "9999-12-31T23:59:59-12:00"],
            "'9999-12-31",
        ),
        (["ban", "add", "ann", "--for", "9999-12-31T23:59:59-12:00"], "'9999-12-31"),
        (["token", "add", "ann", "--read", "*", "--expires", "soon"], "not a time: 'soon'"),
        (["token", "add", "ann", "--read", "*", "--expires", "99999999w"], "the duration is too long"),
        (["token", "add", "ann", "--hook", "ops", "--read", "ops"], "--hook gives all the rights of its token"),
        (["invite"], "no rights are given"),
        (["invite", "--read", "ops", "--url", "ftp://x"], "not a server's URL"),
        (["ban", "add", "bob", "--room", "a b"], "a room is 1 to 64"),
        (["room", "set", "ops"], "nothing to set: give --topic, --keep, --keep-for, --archive or --no-archive"),
        (["room", "set", "ops", "--keep", "0"], "--keep is a number of messages, at least 1, or 'default', not '0'"),
        (["room", "set", "ops", "--keep", "\u0663"], "--keep is a number of messages"),
        (["room", "set", "ops", "--keep-for", "long"], "not a duration"),
    ],
)
def test_wrong_usage_is_reported_in_one_sentence_and_makes_no_store(
    chatkit: CommandRunner, tmp_path: Path, words: list[str], why: str
) -> None:
    assert why in chatkit.refused(*words)
    assert not list(tmp_path.iterdir())


def test_only_tokens_and_invites_create_a_store(chatkit: CommandRunner, tmp_path: Path) -> None:
    for words in (
        ["token", "list"],
        ["ban", "add", "bob"],
        ["room", "set", "ops", "--archive"],
        ["redact", "ops", "1"],
    ):
        assert "there is no store at rooms.db" in chatkit.refused(*words, status=3)
    assert not list(tmp_path.iterdir())
    chatkit.run("invite", "--read", "ops")
    assert len(chatkit.rows("token", "list")) == 1


def test_a_file_that_is_no_store_is_an_error(chatkit: CommandRunner, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "rooms.db") as other:
        other.execute("create table other (x)")
    other.close()
    assert "rooms.db is another program's database" in chatkit.refused("token", "add", "ann", "--admin", status=3)


# The settings file


SERVER_COMMANDS = {"serve", "bench"}


def commands_of(group: Any) -> set[str]:
    return {command.name for command in group.registered_commands}


def test_the_settings_file_applies_to_every_command_of_a_client() -> None:
    groups = [group.typer_instance for group in app.registered_groups if group.typer_instance is not None]
    assert {group.info.name: commands_of(group) for group in groups} == {
        name: set(commands) for name, commands in CLIENT_GROUPS.items()
    }
    assert commands_of(app) - SERVER_COMMANDS == set(CLIENT_COMMANDS)


@pytest.mark.parametrize("words", [["token", "list"], ["ban", "list"], ["invite", "--read", "ops"]])
def test_the_store_of_the_settings_file_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    CommandRunner(tmp_path, monkeypatch, "--backend", STORE).run("token", "add", "ann", "--admin")
    (tmp_path / "chatkit.toml").write_text(f'backend = "{STORE}"\nname = "filed"\n')
    CommandRunner(tmp_path, monkeypatch).run(*words)


def test_a_name_in_the_settings_file_is_not_the_holder_of_a_new_token(chatkit: CommandRunner, tmp_path: Path) -> None:
    (tmp_path / "chatkit.toml").write_text('name = "filed"\n')
    assert chatkit.json("token", "add", "ann", "--admin")["name"] == "ann"
    chatkit.run("token", "add", "--admin", status=2)
