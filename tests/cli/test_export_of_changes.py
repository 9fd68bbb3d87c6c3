"""`chatkit export` and `import` keep what refers to messages: edits, reactions, pins, replies and redactions."""

import json
from pathlib import Path

import pytest
from cli_runner import CommandRunner

SOURCE, TARGET = ("--backend", "sqlite:///source.db"), ("--backend", "sqlite:///target.db")


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    """Commands in a folder with a store whose room `ops` has every kind of change."""
    runner = CommandRunner(tmp_path, monkeypatch)
    for words in (
        ["publish", "ops", "backup dnoe", "--data", "[1]", "--key", "k"],
        ["publish", "ops", "a secret"],
        ["reply", "ops", "1", "thanks"],
        ["edit", "ops", "1", "backup done"],
        ["edit", "ops", "2", "another secret"],
        ["react", "ops", "1", "👍"],
        ["react", "ops", "1", ":tada:"],
        ["react", "ops", "1", ":tada:", "--remove"],
        ["react", "ops", "2", "👍"],
        ["reply", "ops", "2", "and this?"],
        ["redact", "ops", "2", "--yes"],
        ["edit", "ops", "3", "thank you"],
    ):
        runner.run(*words, *SOURCE)
    return runner


def read(chatkit: CommandRunner, *words: str) -> str:
    return chatkit.run("history", "ops", "--json", *words)


def test_an_imported_room_has_the_same_log_and_the_same_state(chatkit: CommandRunner) -> None:
    exported = chatkit.run("export", *SOURCE)
    assert "secret" not in exported
    Path("rooms.jsonl").write_text(exported)
    chatkit.run("import", "rooms.jsonl", *TARGET)
    assert chatkit.run("export", *TARGET) == exported
    assert read(chatkit, *TARGET) == read(chatkit, *SOURCE)
    first, second, third, fourth = map(json.loads, read(chatkit, *TARGET).splitlines())
    assert (first["body"], first["edited"]["seq"], first["replies"]) == ("backup done", 4, 1)
    assert first["reactions"] == {"👍": {"count": 1, "by": ["carol"]}}
    assert (second["redacted"], second["body"], second["replies"]) == (True, "", 1)
    assert second.keys().isdisjoint({"edited", "reactions"})
    assert (third["body"], third["of"], fourth["of"]) == ("thank you", 1, 2)


def test_an_import_in_two_parts_and_a_second_one_change_nothing(chatkit: CommandRunner) -> None:
    lines = chatkit.run("export", *SOURCE).splitlines(keepends=True)
    for count, status in ((len(lines) // 2, 5), (len(lines), 0), (len(lines), 0)):
        Path("rooms.jsonl").write_text("".join(lines[:count]))
        chatkit.run("import", "rooms.jsonl", *TARGET, status=status)
    assert read(chatkit, *TARGET) == read(chatkit, *SOURCE)
    assert read(chatkit, "--raw", *TARGET) == read(chatkit, "--raw", *SOURCE)


def test_an_imported_room_is_changed_further(chatkit: CommandRunner) -> None:
    Path("rooms.jsonl").write_text(chatkit.run("history", "ops", "--raw", "--json", *SOURCE))
    chatkit.run("import", "rooms.jsonl", *TARGET)
    chatkit.run("edit", "ops", "1", "backup done again", *TARGET)
    chatkit.run("react", "ops", "1", "👍", "--remove", *TARGET)
    first = json.loads(read(chatkit, *TARGET).splitlines()[0])
    assert first["body"] == "backup done again"
    assert "reactions" not in first
    assert chatkit.refused("reply", "ops", "2", "hi", *TARGET, status=1).startswith("message 2 was redacted")


def test_messages_in_their_current_state_are_no_log_and_not_imported(chatkit: CommandRunner) -> None:
    Path("rooms.jsonl").write_text(read(chatkit, *SOURCE))
    chatkit.run("import", "rooms.jsonl", *TARGET, status=1)
    assert "the file has the current state of messages, not the log: use 'chatkit export'" in chatkit.stderr
