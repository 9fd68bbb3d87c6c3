"""The commands as processes: exit codes, wrong usage, and a store that is shared with its server."""

import json
import signal
from pathlib import Path

import pytest
from cli_process import PATIENCE_S, Shell
from serving import ServerProcess, free_port, serve

pytest_plugins = ["shell_fixtures"]


# Exit codes


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["publish", "no room", "hi"], "a room is 1 to 64"),
        (["publish", "ops", "hi", "--data", "{"], "--data is not valid JSON"),
        (["publish", "ops", "hi", "--whole"], "--whole"),
        (["publish", "ops", "--key", "k"], "--key and --data belong to one message"),
        (["publish", "ops", "hi", "--name", "a\u202eb"], "a sender is"),
        (["publish", "ops", "hi", "--key", "\udcff"], "'--key': it is not UTF-8 text"),
        (["publish", "ops", "hi", "--token", "t\u20acken"], "a token is printable ASCII"),
        (["publish", "ops", "hi", "--server", "ftp://x"], "--server: not a server's URL"),
        (["publish", "ops", "hi", "--backend", "nowhere"], "--backend: 'nowhere' has no scheme"),
        (["publish", "ops", "hi", "--server", "http://["], "not a server's URL"),
        (["publish", "ops", "hi", "--server", "http://x", "--backend", "memory://"], "either --server or --backend"),
        (["publish", "ops", "hi", "--backend", "floppy://x"], "floppy"),
        (["history", "ops", "--since", "yesterday"], "'--since': not a time"),
        (["history", "ops", "--format", "pdf"], "--format must be one of"),
        (["history", "ops", "--after", "no cursor"], "'--after': not a cursor"),
        (["history", "ops", "--after", "\udcff"], "'--after': not a cursor"),
        (["history", "ops", "--follow", "--until", "1h"], "--follow has no end"),
        (["history", "ops", "-n", "-1"], "-n"),
        (["serve", "--keep-for", "long"], "'--keep-for' (env var: 'CHATKIT_KEEP_FOR'): not a duration"),
        (["serve", "--log-level", "loud"], "--log-level must be one of"),
        (["serve", "--port", "99999"], "--port"),
        (["invite", "--read", "ops", "--uses", "0"], "'--uses': it must be at least 1 (see 'chatkit invite --help')"),
        (["redact", "ops", "x"], "'SEQ': 'x' is not the number of a message, such as 42 (see 'chatkit redact --help')"),
        (["on", "ops", "--timeout", "5x", "--", "true"], "'--timeout': not a duration: '5x'"),
        (["on", "ops", "--timeout", "0s", "--", "true"], "'--timeout': it must be at least 1s"),
        (["token", "rotate", "ann", "--overlap", "5x"], "'--overlap': not a duration"),
        (["ban", "add", "ann", "--for", "5x"], "'--for': not a time"),
        (["bench", "--chaos", "--duration", "5x"], "'--duration': not a duration"),
        (["invite", "--read", "ops", "--url", "ftp://x"], "'--url': not a server's URL"),
        (["sevre"], "no such command"),
    ],
)
def test_wrong_usage_is_reported_in_one_sentence(shell: Shell, words: list[str], why: str) -> None:
    shell.run(*words, status=2)
    assert why in shell.stderr
    assert shell.stderr.startswith("chatkit: ")
    assert shell.stderr.count("\n") == 1


def test_a_usage_error_names_the_help_of_its_command(shell: Shell) -> None:
    shell.run("publish", "ops", "--ky", "x", status=2)
    assert shell.stderr == "chatkit: no such option: --ky (Possible options: --key) (see 'chatkit publish --help')\n"


def test_without_a_server_the_exit_code_is_3(tmp_path: Path) -> None:
    shell = Shell(tmp_path, f"http://127.0.0.1:{free_port()}")
    for words in (["publish", "ops", "hi"], ["publish", "ops"], ["history", "ops"], ["rooms"], ["join", "ops"]):
        shell.run(*words, given="hi\n", status=3)
        assert shell.stderr.startswith("chatkit: no server answers at http://127.0.0.1:")
        assert shell.stderr.count("\n") == 1


def test_without_a_token_the_exit_code_is_4(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", "--secret", "right-token") as server:
        shell = Shell(tmp_path, server.url)
        for words in (["publish", "ops", "hi"], ["publish", "ops"], ["history", "ops"], ["rooms"], ["join", "ops"]):
            shell.run(*words, given="hi\n", status=4)
            shell.run(*words, "--token", "right-token", given="hi\n")


@pytest.mark.parametrize(
    "options",
    [("--secret", "eight-or-more"), ("--open",), ("--keep", "5"), ("--page", "."), ("--origin", "https://a.example")],
)
def test_an_option_that_an_application_ignores_is_rejected(shell: Shell, options: tuple[str, ...]) -> None:
    shell.run("serve", "app:app", *options, status=2)
    assert f"{options[0]} applies to chatkit's own rooms only" in shell.stderr


@pytest.mark.parametrize("name", ["../app:app", "a-b", ":app", "app.:app"])
def test_an_application_with_an_invalid_module_name_is_wrong_usage(shell: Shell, name: str) -> None:
    shell.run("serve", name, status=2)
    assert f"{name!r} names no module" in shell.stderr


def test_a_port_in_use_is_reported(tmp_path: Path, shell_server: ServerProcess) -> None:
    shell = Shell(tmp_path, shell_server.url)
    shell.run("serve", "--port", str(shell_server.port), "--backend", "memory://", status=1)
    assert str(shell_server.port) in shell.stderr
    assert "Traceback" not in shell.stderr


# Rooms and stores


def test_rooms_lists_all_rooms_or_shows_one(shell: Shell) -> None:
    shell.run("publish", "Räume", "hi")
    listed = shell.run("rooms")
    assert listed.splitlines()[0].split() == ["ROOM", "MESSAGES", "HERE", "LAST"]
    assert any(line.split()[:3] == ["Räume", "1", "0"] for line in listed.splitlines())
    assert "Räume" in {json.loads(line)["room"] for line in shell.run("rooms", "--json").splitlines()}
    assert "1 to 1" in shell.run("rooms", "#Räume")
    assert json.loads(shell.run("rooms", "Räume", "--json"))["members"] == []


def test_join_in_a_pipe_prints_messages_and_publishes_lines(shell: Shell) -> None:
    shell.run("publish", "joined", "earlier", "--name", "bob")
    printed = shell.run("join", "joined", given="one\n/quit\n").splitlines()
    assert [line.split(" ", 2)[2] for line in printed] == ["bob: earlier", "ann: one", "ann: /quit"]


def test_commands_on_a_store_share_its_messages_with_its_server(shell: Shell, shell_server: ServerProcess) -> None:
    shell.run("publish", "shared", "by server")
    store = ["--backend", shell_server.store]
    with shell.start("history", "shared", "--follow", *store) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b"ann: by server\n")
        shell.run("publish", "shared", "by store", *store)
        shell.run("publish", "shared", *store, given="line 1\nline 2\n")
        shell.run("publish", "shared", "by server again")
        seen = [process.stdout.readline().decode().split(": ", 1)[1].strip() for _ in range(4)]
        assert seen == ["by store", "line 1", "line 2", "by server again"]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    assert shell.bodies("shared") == ["by server", "by store", "line 1", "line 2", "by server again"]
    assert "shared" in shell.run("rooms", *store)
    for room in ("shared", "never-written-to"):
        for form in ([], ["--json"]):
            assert shell.run("rooms", room, *form, *store) == shell.run("rooms", room, *form)
    assert json.loads(shell.run("publish", "shared", "hi", "--json", *store))["seq"] == 6
    assert len(shell.run("history", "shared", "-n", "2", *store).splitlines()) == 2


def test_only_serve_and_publish_create_a_store(shell: Shell) -> None:
    for words in (["history", "ops"], ["rooms"], ["rooms", "ops"]):
        shell.run(*words, "--backend", "sqlite:///typo.db", status=3)
        assert "there is no store at typo.db" in shell.stderr
    assert not list(shell.folder.glob("typo*"))
    shell.run("publish", "ops", "hi", "--backend", "sqlite:///made.db")
    shell.run("publish", "ops", "-", "--backend", "sqlite:///piped.db", given="hi\n")
    for name in ("made.db", "piped.db"):
        assert "hi" in shell.run("history", "ops", "--backend", f"sqlite:///{name}")
