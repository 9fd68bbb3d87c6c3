"""`chatkit consumers`: what it lists, moves and deletes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Shell
from cli_runner import CommandRunner

from chatkit.client.consumers import ConsumerClient
from chatkit.client.endpoint import Endpoint

pytest_plugins = ["shell_fixtures", "admin_fixtures"]


@pytest.fixture
def calls(shell: Shell) -> Iterator[ConsumerClient]:
    with ConsumerClient(Endpoint.parse(shell.env["CHATKIT_SERVER"], "ann")) as client:
        yield client


def test_consumers_are_listed_shown_moved_and_deleted(shell: Shell, calls: ConsumerClient) -> None:
    assert shell.run("consumers", "#empty") == ""
    assert "there are no consumers in empty yet" in shell.stderr
    shell.run("publish", "work", given="one\ntwo\nthree\nfour")
    calls.put_consumer("work", "builder", after="start", retries=0)
    calls.retry("work", "builder", calls.receive("work", "builder", limit=1, lease_s=60).lease or "", reason="no disk")
    calls.receive("work", "builder", limit=1, lease_s=60)
    head, row = shell.run("consumers", "#work").splitlines()
    assert head.split() == ["ROOM", "NAME", "LAG", "LEASED", "WAITING", "FAILED", "OWNER"]
    assert row.split() == ["work", "builder", "3", "1", "0", "1", "ann"]
    assert row.split() in [each.split() for each in shell.run("consumers").splitlines()]
    assert '"name":"builder"' in shell.run("consumers", "--json")
    shown = shell.run("consumers", "show", "work", "builder")
    assert "failed    1, in the room work.failed\n" in shown
    cursor = calls.consumer("work", "builder").cursor
    moved = shell.run("consumers", "seek", "work", "builder", "end", "--json")
    assert '"lag":0,"leased":0' in moved
    assert "lag       3\n" in shell.run("consumers", "seek", "work", "builder", cursor)
    shell.run("consumers", "delete", "work", "builder", status=2)
    assert "confirm it with --yes" in shell.stderr
    shell.run("consumers", "delete", "work", "builder", "--yes")
    shell.run("consumers", "show", "work", "builder", status=1)
    assert "'chatkit consumers list' lists the consumers" in shell.stderr


def test_a_consumer_that_does_not_exist_is_not_made_by_a_move(shell: Shell) -> None:
    shell.run("consumers", "seek", "work", "nobody", "start", status=1)
    shell.run("consumers", "seek", "work", "nobody", "41", status=2)
    assert "not a cursor: '41' (example: k3f9x2ab:42)" in shell.stderr
    assert "nobody" not in shell.run("consumers")


def test_help_is_that_of_the_group_and_names_of_commands_are_no_rooms(shell: Shell) -> None:
    assert "\nCommands:\n" in shell.run("consumers", "--help")
    shell.run("consumers", "list", "show")
    shell.run("consumers", "show", status=2)


def test_names_are_completed(shell: Shell, calls: ConsumerClient) -> None:
    calls.put_consumer("complete", "deployer")
    words = "chatkit consumers show complete dep"
    shell.env |= {"_CHATKIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "4"}
    assert shell.run() == "deployer\n"
    shell.env |= {"COMP_WORDS": "chatkit consumers se", "COMP_CWORD": "2"}
    assert shell.run() == "seek\n"


def test_a_store_is_administered_without_a_server(chatkit: CommandRunner, tmp_path: Path) -> None:
    chatkit.run("publish", "ops", "one")
    assert (tmp_path / "rooms.db").exists()
    assert chatkit.run("consumers") == ""
    assert "there are no consumers yet" in chatkit.stderr
    assert chatkit.run("consumers", "show", "ops", "builder", status=1) == ""
    assert chatkit.run("consumers", "seek", "ops", "builder", "end", status=1) == ""
