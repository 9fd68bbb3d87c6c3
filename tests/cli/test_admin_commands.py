"""The commands that administer a store: what they change, print, ask and refuse."""

import io
import re
import shlex
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli_process import PATIENCE_S, Shell
from cli_runner import CommandRunner

from chatkit.cli.config import CLIENT_COMMANDS, CLIENT_GROUPS
from chatkit.cli.confirm import NotConfirmed, confirm
from chatkit.cli.main import app
from chatkit.errors import BadRequest

STORE = "sqlite:///rooms.db"
SERVER_COMMANDS = {"serve", "bench"}


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    return CommandRunner(tmp_path, monkeypatch, "--backend", STORE)


def audit(chatkit: CommandRunner) -> list[dict[str, Any]]:
    return [entry["data"] for entry in chatkit.rows("history", ".audit")]


def hours_from_now(time: str) -> float:
    return (datetime.fromisoformat(time) - datetime.now(UTC)) / timedelta(hours=1)


# Tokens


def test_a_token_is_made_listed_and_shown(chatkit: CommandRunner) -> None:
    made = chatkit.json(
        "token", "add", "ann", "--read", "ops*", "--write", "#ops", "--read", "#ops", "--expires", "30d"
    )
    assert made["grants"] == [{"rooms": "ops*", "rights": ["read"]}, {"rooms": "ops", "rights": ["read", "write"]}]
    assert made["secret"].startswith(f"ck_{made['id']}_")
    assert made["made_by"] == "carol"
    assert hours_from_now(made["expires"]) == pytest.approx(720, abs=0.1)
    secret = made.pop("secret")
    assert chatkit.rows("token", "list") == [made]
    assert chatkit.json("token", "show", "ann") == chatkit.json("token", "show", made["id"]) == made
    for words in (["token", "list"], ["token", "show", "ann"]):
        printed = chatkit.run(*words)
        assert "ops*:read ops:read,write" in printed
        assert secret not in printed + chatkit.stderr


def test_a_new_token_is_printed_with_its_secret_and_how_to_use_it(chatkit: CommandRunner) -> None:
    lines = chatkit.run("token", "add", "ann", "--read", "*").splitlines()
    (secret,) = [line.split()[1] for line in lines if line.startswith("secret ")]
    assert f"  export CHATKIT_TOKEN={secret}" in lines
    assert not [line for line in lines if "?token=" in line], "no server was named"


def test_the_link_of_a_new_token_leads_to_the_server_that_is_configured(
    chatkit: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATKIT_SERVER", "https://chat.example.org/team/")
    assert "  https://chat.example.org/team/?token=ck_" in chatkit.run("token", "add", "ann", "--read", "*")
    assert "?token=" not in chatkit.run("token", "add", "cron", "--bot", "--write", "ops")


@pytest.mark.parametrize(
    ("options", "kind", "grants"),
    [
        (["--admin"], "person", [("*", ["admin"])]),
        (["--moderate", "ops"], "person", [("ops", ["moderate"])]),
        (["--bot", "--write", "ops"], "bot", [("ops", ["write"])]),
        (["--hook", "#ops"], "hook", [("ops", ["write"])]),
    ],
)
def test_options_give_the_kind_and_the_rights(
    chatkit: CommandRunner, options: list[str], kind: str, grants: list[tuple[str, list[str]]]
) -> None:
    made = chatkit.json("token", "add", "ann", *options)
    assert made["kind"] == kind
    assert [(grant["rooms"], grant["rights"]) for grant in made["grants"]] == grants


def test_a_token_is_revoked_by_name_or_id_and_listed_only_on_request(chatkit: CommandRunner) -> None:
    first = chatkit.json("token", "add", "ann", "--read", "*")
    second = chatkit.json("token", "add", "ann", "--read", "ops")
    both = f"{first['id']}, {second['id']}"
    assert chatkit.refused("token", "revoke", "ann", "--yes") == f"ann has 2 tokens: give an id ({both})"
    assert chatkit.json("token", "revoke", first["id"], "--yes")["revoked"]
    chatkit.run("token", "revoke", "ann", "--yes")
    assert chatkit.stderr == f"chatkit: revoked the token {second['id']} of ann\n"
    assert chatkit.rows("token", "list") == []
    assert len(chatkit.rows("token", "list", "--all")) == 2
    assert chatkit.run("token", "list", "--all").count("revoked") == 2
    assert "Make one with: chatkit token add NAME --admin" in chatkit.run("token", "list")


def test_a_name_is_free_after_its_ended_tokens_were_removed(chatkit: CommandRunner) -> None:
    first, second = [chatkit.json("token", "add", "ann", "--read", "*") for _ in range(2)]
    assert chatkit.refused("token", "remove", "ann", "--yes") == "the token 'ann' is in use: revoke it first"
    chatkit.run("token", "revoke", first["id"], "--yes")
    assert chatkit.json("token", "remove", "ann", "--yes")["id"] == first["id"], "the other one is in use"
    assert "belongs to somebody else" in chatkit.refused("token", "add", "Ann", "--read", "*", status=4)
    chatkit.run("token", "revoke", second["id"], "--yes")
    chatkit.run("token", "remove", second["id"], "--yes")
    assert chatkit.stderr == f"chatkit: removed the token {second['id']} of ann\n"
    assert chatkit.rows("token", "list", "--all") == []
    assert chatkit.json("token", "add", "Ann", "--read", "*")["name"] == "Ann"
    assert [entry["event"] for entry in audit(chatkit)].count("token-removed") == 2


def test_a_message_that_is_published_to_the_store_is_never_verified(chatkit: CommandRunner) -> None:
    chatkit.run("token", "add", "ann", "--write", "*")
    chatkit.run("publish", "ops", "hello", "--name", "ann")
    (message,) = chatkit.rows("history", "ops")
    assert (message["sender"], "verified" in message) == ("ann", False)


def test_a_rotated_token_has_a_new_secret_and_an_overlap(chatkit: CommandRunner) -> None:
    made = chatkit.json("token", "add", "ann", "--read", "*")
    rotated = chatkit.json("token", "rotate", "ann", "--overlap", "1h30m")
    assert rotated["id"] == made["id"]
    assert rotated["secret"] != made["secret"]
    assert hours_from_now(rotated["previous_until"]) == pytest.approx(1.5, abs=0.1)
    assert "the secret before this one is valid until" in chatkit.run("token", "show", "ann")
    assert "secret" in chatkit.run("token", "rotate", "ann")


def test_secrets_are_in_no_file_of_the_store(chatkit: CommandRunner, tmp_path: Path) -> None:
    made = [chatkit.json("token", "add", "ann", "--read", "*"), chatkit.json("token", "rotate", "ann")]
    made += [chatkit.json("invite", "--read", "ops")]
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("rooms.db*"))
    assert made[0]["id"].encode() in stored
    assert not [view for view in made if view["secret"][-20:].encode() in stored]


@pytest.mark.parametrize("words", [["token", "add", "ann", "--admin"], ["invite", "--read", "ops"]])
def test_a_secret_that_nobody_reads_is_a_failure(chatkit: CommandRunner, tmp_path: Path, words: list[str]) -> None:
    shell = Shell(tmp_path, "")
    with shell.start(*words, "--backend", STORE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 1


# Invites


def test_an_invite_is_a_link_with_its_secret_in_the_fragment(chatkit: CommandRunner) -> None:
    made = chatkit.json("invite", "--read", "ops", "--uses", "5", "--url", "https://chat.example.org:443/team")
    assert made["url"] == f"https://chat.example.org/team/#invite={made['secret']}"
    assert made["uses_left"] == 5
    assert hours_from_now(made["expires"]) == pytest.approx(168, abs=0.1)
    link = chatkit.run("invite", "--read", "ops", "--url", "chat.example.org:9000")
    assert link.startswith("http://chat.example.org:9000/#invite=ck_")
    assert link.count("\n") == 1
    assert chatkit.stderr == ""
    assert "invite (5 left)" in chatkit.run("token", "list")


def test_a_link_that_only_this_machine_can_open_is_reported(chatkit: CommandRunner) -> None:
    assert chatkit.run("invite", "--read", "ops").startswith("http://127.0.0.1:8000/#invite=ck_")
    assert "give the address that others use with --url" in chatkit.stderr


# Bans


def test_a_ban_is_made_listed_and_removed(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "hi")
    made = chatkit.json("ban", "add", "bob", "--room", "#ops", "--for", "2h", "--reason", "off topic")
    assert (made["kind"], made["subject"], made["room"], made["reason"]) == ("name", "bob", "ops", "off topic")
    assert hours_from_now(made["until"]) == pytest.approx(2, abs=0.1)
    chatkit.run("ban", "add", "192.0.2.7", "--mute", "--for", "2100-01-01")
    assert chatkit.stderr.startswith("chatkit: muted the network 192.0.2.7/32 in all rooms until 2100-01-01 00:00:00\n")
    listed = chatkit.run("ban", "list").splitlines()
    assert listed[0].split() == ["ID", "SUBJECT", "ROOM", "KIND", "UNTIL", "BY", "REASON"]
    assert [line.split()[1:4] for line in listed[1:]] == [["bob", "ops", "ban"], ["192.0.2.7/32", "*", "mute"]]
    assert chatkit.json("ban", "remove", made["id"]) == made
    assert len(chatkit.rows("ban", "list")) == 1
    assert chatkit.refused("ban", "add", "carol") == "this ban would concern you"
    assert chatkit.refused("ban", "remove", made["id"], status=1) == f"there is no ban '{made['id']}'"


# Rooms and messages


def test_settings_of_a_room_change_one_by_one(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "hi")
    shown = chatkit.run("room", "set", "#ops", "--topic", "Deployments", "--keep", "100", "--keep-for", "36h")
    assert shown.splitlines()[1:3] == ["topic     Deployments", "keeps     100, 1d12h"]
    after = chatkit.json("room", "set", "ops", "--keep", "default", "--archive")
    assert (after["topic"], after.get("keep"), after["keep_for_s"], after["archived"]) == (
        "Deployments", None, 129_600, True,
    )  # fmt: skip
    assert chatkit.run("rooms", "ops").splitlines()[1:4] == [
        "topic     Deployments", "keeps     1d12h", "archived  yes",
    ]  # fmt: skip
    assert chatkit.run("room", "show", "ops") == chatkit.run("rooms", "ops")
    reset = chatkit.json("room", "set", "ops", "--topic", "", "--keep-for", "default", "--no-archive")
    assert not {"topic", "keep", "keep_for_s", "archived"} & set(reset)


def test_a_room_gets_another_name_and_its_old_name_is_freed(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "hi")
    assert "Rename the room ops to dev?" in chatkit.refused("room", "rename", "ops", "dev")
    assert chatkit.json("room", "rename", "ops", "dev", "--yes")["room"] == "dev"
    assert "hi" in chatkit.run("history", "dev")
    renamed = "the room 'ops' was renamed to 'dev'"
    assert chatkit.refused("room", "rename", "ops", "x", "--yes", status=1) == renamed
    assert "Free its old name?" in chatkit.refused("room", "delete", "ops")
    chatkit.run("room", "delete", "ops", "--yes")
    assert chatkit.refused("room", "delete", "ops", "--yes", status=1) == "there is no room 'ops'"


def test_a_room_is_deleted_with_its_messages(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "hi")
    assert "Delete the room ops and its message for good?" in chatkit.refused("room", "delete", "ops")
    chatkit.run("room", "delete", "ops", "--yes")
    assert "ops" not in [row["room"] for row in chatkit.rows("rooms")]
    assert chatkit.refused("room", "delete", "ops", "--yes", status=1) == "there is no room 'ops'"


def test_a_message_is_redacted_after_it_was_shown(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "a secret\nof mine", "--name", "bob")
    sentence = chatkit.refused("redact", "ops", "1")
    assert sentence.startswith("Redact message 1 of bob in ops for good: a secret\u240aof mine?")
    assert chatkit.refused("redact", "ops", "2", status=1) == "there is no message 2 in the room ops"
    redacted = chatkit.json("redact", "ops", "1", "--yes")
    assert (redacted["seq"], redacted["sender"], redacted["body"], redacted["redacted"]) == (1, "bob", "", True)
    assert "(redacted)" in chatkit.run("history", "ops")


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
    ["redact"],
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
    assert chatkit.refused(*words).startswith(why)
    assert not list(tmp_path.iterdir())


def test_a_token_that_does_not_exist_is_an_error(chatkit: CommandRunner) -> None:
    chatkit.run("token", "add", "bob", "--admin")
    for command in ("show", "revoke", "rotate"):
        sentence = chatkit.refused("token", command, "ann", status=1)
        assert sentence == "there is no token 'ann': 'chatkit token list --all' shows them"


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


# Questions


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " yes \n"])
def test_a_question_is_answered_with_yes(
    answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    confirm("Delete \x1b[2J it?", yes=False)
    assert capsys.readouterr() == ("", "Delete \u241b[2J it? [y/N] ")


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yes please\n"])
def test_any_other_answer_changes_nothing(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(NotConfirmed, match="nothing was changed"):
        confirm("Delete it?", yes=False)


def test_without_a_terminal_only_the_option_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    confirm("Delete it?", yes=True)
    with pytest.raises(BadRequest, match="confirm it with --yes"):
        confirm("Delete it?", yes=False)


# The settings file


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
