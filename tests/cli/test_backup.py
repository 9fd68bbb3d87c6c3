"""`chatkit backup`: what it copies, prints and refuses. The copy itself is tested with the store."""

import signal
from pathlib import Path

import pytest
from cli_runner import CommandRunner

from chatkit.backends.sqlite.backup import copy_store
from chatkit.cli.backup import exit_on_signals


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    return CommandRunner(tmp_path, monkeypatch)


def test_a_store_is_copied_with_its_tokens_and_restored(chatkit: CommandRunner) -> None:
    store = ("--backend", "sqlite:///rooms.db")
    chatkit.run("publish", "ops", "hi", *store)
    chatkit.run("token", "add", "ann", "--read", "*", *store)
    summary = chatkit.json("backup", "copy.db", *store)
    assert summary["file"] == "copy.db"
    assert summary["bytes"] == Path("copy.db").stat().st_size
    assert "copy.db exists" in chatkit.refused("backup", "copy.db", *store)
    assert "copied" in chatkit.run("backup", "copy.db", "--force", *store)
    Path("copy.db").rename("rooms.db")
    assert chatkit.run("history", "ops", *store).endswith("hi\n")
    assert "ann" in chatkit.run("token", "list", *store)


def test_without_a_url_the_default_store_is_copied(chatkit: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(Path.cwd()))
    assert "there is no store at" in chatkit.refused("backup", "copy.db", status=3)
    chatkit.run("publish", "ops", "hi", "--backend", "sqlite://")
    chatkit.run("backup", "copy.db")
    assert chatkit.run("history", "ops", "--backend", "sqlite:///copy.db").endswith("hi\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_copy_that_is_ended_by_a_signal_leaves_nothing(chatkit: CommandRunner, number: signal.Signals) -> None:
    chatkit.run("publish", "ops", "hi", "--backend", "sqlite:///rooms.db")
    before = exit_on_signals()
    try:
        with pytest.raises(SystemExit) as caught:
            copy_store(
                Path("rooms.db"), Path("copy.db"), overwrite=False, on_progress=lambda _: signal.raise_signal(number)
            )
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert caught.value.code == 128 + number
    assert [path.name for path in Path().iterdir()] == ["rooms.db"]


@pytest.mark.parametrize(
    ("url", "tool"),
    [("redis://localhost", "redis-cli --rdb"), ("postgresql://localhost/x", "pg_dump"), ("memory://", "")],
)
def test_for_other_stores_their_own_tools_are_named(chatkit: CommandRunner, url: str, tool: str) -> None:
    sentence = chatkit.refused("backup", "copy.db", "--backend", url)
    assert tool in sentence
    assert "'chatkit export'" in sentence
