"""The commands as processes, with a real server and with a store."""

import csv
import io
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import PATIENCE_S, Shell, wait_until
from serving import ServerProcess, free_port, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "2000") as process:
        yield process


@pytest.fixture
def shell(server: ServerProcess, tmp_path: Path) -> Shell:
    return Shell(tmp_path, server.url)


def test_a_message_is_published_and_read(shell: Shell) -> None:
    assert shell.run("publish", "#ops", "backup", "done") == ""
    assert shell.stderr == ""
    assert shell.run("history", "ops").endswith(" ann: backup done\n")


def test_json_is_the_stored_message(shell: Shell) -> None:
    stored = json.loads(shell.run("publish", "stored", "hi", "--key", "k", "--data", '{"n": 1}', "--json"))
    assert (stored["seq"], stored["sender"], stored["data"], stored["key"]) == (1, "ann", {"n": 1}, "k")
    again = json.loads(shell.run("publish", "stored", "hi", "--key", "k", "--data", '{"n": 1}', "--json"))
    assert again == stored
    shell.run("publish", "stored", "other", "--key", "k", status=1)
    assert "has the key 'k'" in shell.stderr
    assert json.loads(shell.run("history", "stored", "--json")) == stored


def test_each_line_of_a_pipe_is_a_message(shell: Shell) -> None:
    assert shell.run("publish", "lines", given="one\r\n\nthree\nno end") == ""
    assert shell.bodies("lines") == ["one", "", "three", "no end"]
    printed = shell.run("publish", "lines", "-", "--json", given="five\nsix\n")
    assert [json.loads(line)["seq"] for line in printed.splitlines()] == [5, 6]


def test_a_line_is_published_as_soon_as_it_arrives(shell: Shell) -> None:
    with shell.start("publish", "tail", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for count in (1, 2):
            process.stdin.write(b"line\n")
            process.stdin.flush()
            wait_until(shell.counts("tail", count))
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_an_interrupted_pipe_reports_how_many_lines_are_published(shell: Shell) -> None:
    with shell.start("publish", "interrupted", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"one\ntwo\nnot ended")
        process.stdin.flush()
        wait_until(shell.counts("interrupted", 2))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"chatkit: stopped: 2 of the 2 lines read are published\n"


def test_whole_input_is_one_message(shell: Shell) -> None:
    shell.run("publish", "whole", "--whole", given="one\ntwo\n")
    assert shell.bodies("whole") == ["one\ntwo"]
    assert shell.run("history", "whole").endswith(" ann: one\n    two\n")


def test_a_pipe_longer_than_the_rate_limit_burst_arrives_complete_and_in_order(shell: Shell) -> None:
    lines = [str(n) for n in range(24_000)]  # a server accepts a burst of ten seconds of 2,000
    shell.run("publish", "long", given="\n".join(lines))
    assert shell.bodies("long") == lines


def test_a_pipe_survives_a_killed_server(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", "--rate-limit", "0") as server:
        shell = Shell(tmp_path, server.url)
        with shell.start("history", "ops", "-n", "0", "--follow", "--json") as follow:
            with shell.start("publish", "ops", stdin=subprocess.PIPE) as pipe:
                assert pipe.stdin is not None
                for life in range(3):
                    pipe.stdin.write(b"".join(b"%d\n" % n for n in range(life * 3_000, life * 3_000 + 3_000)))
                    pipe.stdin.flush()
                    wait_until(shell.counts("ops", life * 3_000 + 1))
                    server.kill9()
                    server.start()
                assert pipe.communicate(timeout=PATIENCE_S)[0] == b""
                assert pipe.returncode == 0
            assert shell.bodies("ops") == [str(n) for n in range(9_000)]
            assert follow.stdout is not None
            followed = [json.loads(follow.stdout.readline())["body"] for _ in range(9_000)]
            assert followed == [str(n) for n in range(9_000)]
            follow.terminate()
            follow.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (b"one\ntwo\n\xff\xfe\nfour\n", "line 3 is not UTF-8 text"),
        (b"one\ntwo\n" + b"x" * 65_537 + b"\nfour\n", "a body holds at most 65536 bytes"),
        (b"one\ntwo\n" + b"x" * (17 << 20), "line 3 is too long"),
    ],
)
def test_a_pipe_stops_at_an_invalid_line_and_names_it(
    shell: Shell, given: bytes, why: str, request: pytest.FixtureRequest
) -> None:
    room = f"stops-{len(given)}"
    shell.run("publish", room, given=given, status=1)
    assert why in shell.stderr
    assert "stopped at line 3" in shell.stderr
    assert "2 of the 3 lines read are published" in shell.stderr
    assert shell.bodies(room) == ["one", "two"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["publish", "no room", "hi"], "a room is 1 to 64"),
        (["publish", "ops", "hi", "--data", "{"], "--data is not valid JSON"),
        (["publish", "ops", "hi", "--whole"], "--whole"),
        (["publish", "ops", "--key", "k"], "--key and --data belong to one message"),
        (["publish", "ops", "hi", "--name", "a\u202eb"], "a sender is"),
        (["publish", "ops", "hi", "--key", "\udcff"], "a key is"),
        (["publish", "ops", "hi", "--token", "t\u20acken"], "a token is printable ASCII"),
        (["publish", "ops", "hi", "--server", "ftp://x"], "not a server's URL"),
        (["publish", "ops", "hi", "--server", "http://["], "not a server's URL"),
        (["publish", "ops", "hi", "--server", "http://x", "--backend", "memory://"], "either --server or --backend"),
        (["publish", "ops", "hi", "--backend", "floppy://x"], "floppy"),
        (["history", "ops", "--since", "yesterday"], "not a time"),
        (["history", "ops", "--format", "pdf"], "--format must be one of"),
        (["history", "ops", "--after", "no cursor"], "not a cursor"),
        (["history", "ops", "--after", "\udcff"], "--after is not UTF-8 text"),
        (["history", "ops", "--follow", "--until", "1h"], "--follow has no end"),
        (["history", "ops", "-n", "-1"], "-n"),
        (["serve", "--keep-for", "long"], "not a duration"),
        (["serve", "--log-level", "loud"], "--log-level must be one of"),
        (["serve", "--port", "99999"], "--port"),
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


def test_history_prints_the_selected_messages(shell: Shell) -> None:
    shell.run("publish", "asked", given="".join(f"line {n}\n" for n in range(1, 121)))
    shell.run("publish", "asked", "other", "--name", "bob")

    def shown(*words: str) -> list[str]:
        return [line.split(": ", 1)[1] for line in shell.run("history", "asked", *words).splitlines()]

    assert shown() == [*(f"line {n}" for n in range(72, 121)), "other"]
    assert shown("-n", "2") == ["line 120", "other"]
    assert len(shown("-n", "0")) == 121
    assert shown("--after", "119") == ["line 120", "other"]
    assert shown("--before", "3") == ["line 1", "line 2"]
    assert shown("--before", "100", "-n", "1") == ["line 99"]
    assert shown("--after", "5", "--before", "8") == ["line 6", "line 7"]
    assert shown("--after", "5", "-n", "1") == ["line 6"]
    assert shown("--sender", "bob") == ["other"]
    assert shown("--search", "LINE 11") == ["line 11", *(f"line {n}" for n in range(110, 120))]
    assert len(shown("--since", "1h")) == 121
    assert shown("--until", "1h") == []
    assert shown("--since", "2100-01-01") == []


def test_history_is_exported(shell: Shell) -> None:
    shell.run("publish", "export", 'say "hi"\n=1+1', "--data", "[1]")
    rows = list(csv.DictReader(io.StringIO(shell.run("history", "export", "--format", "csv"))))
    assert [(row["seq"], row["sender"], row["body"], row["data"]) for row in rows] == [
        ("1", "ann", 'say "hi"\n=1+1', "[1]")
    ]
    assert '> say "hi"\\\n> \\=1+1\\\n> \\[1\\]' in shell.run("history", "export", "--format", "markdown")


def test_control_characters_of_a_body_are_not_printed(shell: Shell) -> None:
    body = "\x1b]0;owned\x07\x1b[2J\rann: forged\n2026-11-20 11:47:21 bob: forged\u202e\x9b31m [bold]x[/bold]"
    shell.run("publish", "hostile", body, "--data", '{"\\u001b[31m": "\\u202e"}')
    for form in ("text", "json", "markdown"):
        printed = shell.run("history", "hostile", "--format", form)
        assert not set(printed) & set("\x1b\x07\r\x9b\u202e")
    text = shell.run("history", "hostile").splitlines()
    assert len(text) == 3
    assert all(line.startswith("    ") for line in text[1:])
    assert "[bold]x[/bold]" in text[1]
    assert json.loads(shell.run("history", "hostile", "--json"))["body"] == body


def test_follow_prints_new_messages_that_match_the_filter(shell: Shell) -> None:
    shell.run("publish", "follow", "before")
    with shell.start("history", "follow", "--follow", "--search", "E") as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b"ann: before\n")
        shell.run("publish", "follow", given="not this\nhere\n")
        assert process.stdout.readline().endswith(b"ann: here\n")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (130, b"")


def test_missing_messages_are_reported_with_exit_code_5(shell: Shell) -> None:
    shell.run("publish", "missing", "here")
    printed = shell.run("history", "missing", "--after", "elsewhere:7", status=5)
    assert printed.endswith("ann: here\n")
    assert "missing here" in shell.stderr


def test_history_ends_without_an_error_when_its_reader_closes_the_pipe(shell: Shell) -> None:
    shell.run("publish", "head", given="x" * 50 + "\n" + "line\n" * 5_000)
    with shell.start("history", "head", "-n", "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


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


def test_commands_on_a_store_share_its_messages_with_its_server(shell: Shell, server: ServerProcess) -> None:
    shell.run("publish", "shared", "by server")
    store = ["--backend", server.store]
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


def test_flags_override_the_environment_which_overrides_the_file(shell: Shell) -> None:
    (shell.folder / "chatkit.toml").write_text('name = "filed"\n[serve]\nport = 9000\nkeep-for = "30d"\n')

    def sender(*words: str) -> str:
        return str(json.loads(shell.run("publish", "order", "hi", "--json", *words))["sender"])

    assert sender("--name", "flagged") == "flagged"
    assert sender() == "ann"
    del shell.env["CHATKIT_NAME"]
    assert sender() == "filed"
    (shell.folder / "chatkit.toml").unlink()
    folder = shell.folder / "config" / "chatkit"
    folder.mkdir(parents=True)
    (folder / "chatkit.toml").write_text('name = "folder"\n')
    assert sender() == "folder"
    (folder / "chatkit.toml").unlink()
    shell.env["LOGNAME"] = "login"
    assert sender() == "login"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nmae = 'x'", "unknown key 'nmae'"),
        ("[serve]\nprot = 1", "unknown key 'serve.prot'"),
        ("name = 1", "name must be a string"),
        ("name =", "is not valid TOML"),
        ("[serve]\nhost = {a = 1}", "serve.host must be a string, a number"),
        ("[serve]\nkeep-for = 2026-01-01", "serve.keep-for must be a string, a number"),
    ],
)
def test_a_mistake_in_the_file_is_reported_with_the_name_of_the_file(shell: Shell, text: str, why: str) -> None:
    (shell.folder / "chatkit.toml").write_text(text)
    shell.run("rooms", status=2)
    assert "chatkit.toml" in shell.stderr
    assert why in shell.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ('host = "0.0.0.0"\nopen = true', "Warning: --open lets everyone"),
        ('origin = "chat.example"', "an origin must look like https://chat.example, not 'chat.example'"),
        ('origin = ["https://a.example", "b.example"]', "not 'b.example'"),
    ],
)
def test_settings_of_the_file_act_like_options(shell: Shell, settings: str, sentence: str) -> None:
    (shell.folder / "chatkit.toml").write_text(f'backend = "memory://"\n[serve]\nport = 0\n{settings}\n')
    with shell.start("serve") as process:
        assert process.stderr is not None
        first = process.stderr.readline().decode()
        process.terminate()
        process.communicate()
    assert sentence in first


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


def test_a_port_in_use_is_reported(tmp_path: Path, server: ServerProcess) -> None:
    shell = Shell(tmp_path, server.url)
    shell.run("serve", "--port", str(server.port), "--backend", "memory://", status=1)
    assert str(server.port) in shell.stderr
    assert "Traceback" not in shell.stderr


def test_only_serve_and_publish_create_a_store(shell: Shell) -> None:
    for words in (["history", "ops"], ["rooms"], ["rooms", "ops"]):
        shell.run(*words, "--backend", "sqlite:///typo.db", status=3)
        assert "there is no store at typo.db" in shell.stderr
    assert not list(shell.folder.glob("typo*"))
    shell.run("publish", "ops", "hi", "--backend", "sqlite:///made.db")
    shell.run("publish", "ops", "-", "--backend", "sqlite:///piped.db", given="hi\n")
    for name in ("made.db", "piped.db"):
        assert "hi" in shell.run("history", "ops", "--backend", f"sqlite:///{name}")


def test_help_lists_the_commands_and_their_examples(shell: Shell) -> None:
    assert shell.run("--version").startswith("chatkit ")
    for command in ("serve", "join", "publish", "history", "rooms"):
        assert command in shell.run("--help")
        assert f"\nExamples:\n  chatkit {command}" in shell.run(command, "--help")


def test_characters_outside_the_encoding_are_printed_as_escapes(shell: Shell) -> None:
    shell.run("publish", "latin", "日本")
    shell.env |= {"PYTHONIOENCODING": "latin-1"}
    assert shell.run("history", "latin").endswith("ann: \\u65e5\\u672c\n")


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
