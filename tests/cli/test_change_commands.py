"""`chatkit reply`, `edit` and `react`: what they store, and what they refuse."""

from pathlib import Path

import pytest
import typer
from cli_runner import CommandRunner

from chatkit.cli.options import message_seq

STORE = "sqlite:///rooms.db"


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    """Commands of carol on a store where ann and carol have published a message each."""
    runner = CommandRunner(tmp_path, monkeypatch, "--backend", STORE)
    runner.run("publish", "ops", "backup dnoe", "--name", "ann")
    runner.run("publish", "ops", "hello")
    return runner


def test_a_reply_refers_to_its_message(chatkit: CommandRunner) -> None:
    stored = chatkit.json("reply", "#ops", "#1", "well", "done")
    assert (stored["seq"], stored["sender"], stored["body"], stored["of"]) == (3, "carol", "well done", 1)
    assert "act" not in stored


def test_an_edit_is_stored_once_and_shown(chatkit: CommandRunner) -> None:
    stored = chatkit.json("edit", "ops", "1", "backup done", "--name", "ann")
    assert (stored["seq"], stored["of"], stored["act"], stored["body"]) == (3, 1, "edit", "backup done")
    first, second = chatkit.rows("history", "ops")
    assert (first["body"], first["edited"]["seq"], second["body"]) == ("backup done", 3, "hello")


def test_a_reaction_is_added_and_removed_once(chatkit: CommandRunner) -> None:
    assert chatkit.run("react", "ops", "1", "👍") == ""
    assert chatkit.stderr == ""
    assert chatkit.run("react", "ops", "1", "👍", "--name", "bob") == ""
    chatkit.run("react", "ops", "1", "👍")
    assert chatkit.stderr == "chatkit: you have that reaction already on message 1\n"
    assert chatkit.rows("history", "ops")[0]["reactions"] == {"👍": {"count": 2, "by": ["bob", "carol"]}}
    assert chatkit.json("react", "ops", "1", "👍", "--remove")["act"] == "unreact"
    chatkit.run("react", "ops", "1", "👍", "--remove")
    assert chatkit.stderr == "chatkit: you have no such reaction on message 1\n"
    assert chatkit.rows("history", "ops")[0]["reactions"] == {"👍": {"count": 1, "by": ["bob"]}}


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (["reply", "ops", "9", "hi"], 1, "there is no message 9 in 'ops' ('chatkit history ops' shows the numbers"),
        (["reply", "nosuch", "1", "hi"], 1, "there is no message 1 in 'nosuch'"),
        (["reply", "ops", "1", ""], 2, "a reply needs a text"),
        (["edit", "ops", "1", "mine"], 4, "only the sender of a message edits it"),
        (["edit", "ops", "2", ""], 2, "an edit needs the new text: to remove a message, redact it"),
        (["react", "ops", "1", "tada"], 2, "write the name of an emoji between colons: :tada:"),
        (["react", "ops", "1", "two words"], 2, "a reaction is one emoji or its :name:"),
        (["react", "a b", "1", "👍"], 2, "a room is 1 to 64"),
    ],
)
def test_a_refusal_says_what_to_do_and_stores_nothing(
    chatkit: CommandRunner, words: list[str], status: int, why: str
) -> None:
    assert chatkit.refused(*words, status=status).startswith(why)
    assert chatkit.rows("rooms")[0]["last"] == 2


@pytest.mark.parametrize("seq", ["", "x", "0", "-1", "1.5", "٣", "##1", "9" * 30])
def test_a_text_that_is_no_number_of_a_message_is_wrong_usage(seq: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not the number of a message, such as 42"):
        message_seq(seq)


def test_a_change_is_no_message_to_refer_to(chatkit: CommandRunner) -> None:
    chatkit.run("react", "ops", "1", "👍")
    sentence = chatkit.refused("reply", "ops", "3", "hi", status=1)
    assert sentence.startswith("message 3 is itself a change of message 1: refer to that one")


def test_who_opens_a_store_with_tokens_edits_what_was_sent_without_one(chatkit: CommandRunner) -> None:
    chatkit.run("token", "add", "ann", "--write", "ops")
    assert chatkit.json("edit", "ops", "1", "backup done", "--name", "ann")["act"] == "edit"
    for words in (["reply", "ops", "1", "thanks"], ["react", "ops", "1", "👍"]):
        assert chatkit.json(*words, "--name", "ann")["of"] == 1
    assert chatkit.rows("history", "ops")[0]["body"] == "backup done"
    assert chatkit.refused("edit", "ops", "2", "backup done", "--name", "ann", status=4).endswith(
        "identified by a token (on a server, give the sender's --token; on a store, the sender's --name, unless a "
        "token proved it; to answer, use 'chatkit reply')"
    )


def test_changes_make_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = CommandRunner(tmp_path, monkeypatch, "--backend", STORE)
    assert "there is no store at rooms.db" in empty.refused("reply", "ops", "1", "hi", status=3)
