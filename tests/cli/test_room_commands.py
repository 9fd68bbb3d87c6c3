"""`chatkit ban`, `room` and `redact`: what they change, print and ask."""

import pytest
from admin_store import hours_from_now
from cli_runner import CommandRunner

pytest_plugins = ["admin_fixtures"]

NO_ROOM = "there is no room 'ops': 'chatkit rooms' lists the rooms"


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
    assert chatkit.refused("ban", "remove", made["id"], status=1) == (
        f"there is no ban '{made['id']}': 'chatkit ban list' shows the ids"
    )


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
    assert "keeps     30d\n" in chatkit.run("room", "set", "ops", "--keep-for", "30d")
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
    assert chatkit.refused("room", "delete", "ops", "--yes", status=1) == NO_ROOM


def test_an_empty_history_is_explained(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "hi")
    for words, notice in (
        (["opps"], "there are no messages in opps ('chatkit rooms' lists the rooms)"),
        (["ops", "--sender", "eve"], "no message of ops matches"),
        (["ops", "--as-of", "2h"], "no message of ops matches"),
        (["--search", "absent"], "no message matches"),
    ):
        assert chatkit.run("history", *words) == ""
        assert chatkit.stderr == f"chatkit: {notice}\n"
        assert chatkit.rows("history", *words) == []
    assert chatkit.stderr == ""  # programs count the lines


def test_a_room_is_deleted_with_its_messages(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "hi")
    assert "Delete the room ops and its message for good?" in chatkit.refused("room", "delete", "ops")
    chatkit.run("room", "delete", "ops", "--yes")
    assert "ops" not in [row["room"] for row in chatkit.rows("rooms")]
    assert chatkit.refused("room", "delete", "ops", "--yes", status=1) == NO_ROOM


def test_a_message_is_redacted_after_it_was_shown(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "a secret\nof mine", "--name", "bob")
    sentence = chatkit.refused("redact", "ops", "1")
    assert sentence.startswith("Redact message 1 of bob in ops for good: a secret\u240aof mine?")
    assert chatkit.refused("redact", "ops", "2", status=1) == (
        "there is no message 2 in the room ops: 'chatkit history ops' shows the numbers on a terminal"
    )
    chatkit.run("edit", "ops", "1", "no secret", "--name", "bob")
    assert chatkit.refused("redact", "ops", "1").startswith("Redact message 1 of bob in ops for good: no secret?")
    assert chatkit.refused("redact", "ops", "2", status=1) == "message 2 is a change of message 1: redact that one"
    redacted = chatkit.json("redact", "ops", "1", "--yes")
    assert (redacted["seq"], redacted["sender"], redacted["body"], redacted["redacted"]) == (1, "bob", "", True)
    assert "(redacted)" in chatkit.run("history", "ops")
