"""`chatkit backup`: what it copies, prints and refuses. The copy itself is tested with the store."""

from pathlib import Path

import pytest
from cli_runner import CommandRunner


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


@pytest.mark.parametrize(
    ("url", "tool"),
    [("redis://localhost", "redis-cli --rdb"), ("postgresql://localhost/x", "pg_dump"), ("memory://", "")],
)
def test_for_other_stores_their_own_tools_are_named(chatkit: CommandRunner, url: str, tool: str) -> None:
    sentence = chatkit.refused("backup", "copy.db", "--backend", url)
    assert tool in sentence
    assert "'chatkit export'" in sentence
