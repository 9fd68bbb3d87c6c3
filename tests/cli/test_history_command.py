"""`chatkit history`: which messages are printed, and in which form."""

import csv
import io
import json
import signal

from cli_process import PATIENCE_S, Shell

pytest_plugins = ["shell_fixtures"]


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


def test_follow_prints_changes_as_they_arrive(shell: Shell) -> None:
    shell.run("publish", "changes", "dnoe")
    with shell.start("history", "changes", "--follow") as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b" ann: dnoe\n")
        shell.run("edit", "changes", "1", "done")
        shell.run("react", "changes", "1", "👍", "--name", "bob")
        shell.run("reply", "changes", "1", "thanks", "--name", "bob")
        printed = [process.stdout.readline().decode() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert [line[:2] for line in printed] == ["  ", "  ", "20", "  "]
    assert printed[0].endswith(" ann edited #1: done\n")
    assert printed[1].endswith(" bob reacted to #1 with 👍\n")
    assert printed[2].endswith(" bob: thanks\n")
    assert printed[3] == "  ↳ #1 ann: done\n"


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


def test_following_ends_when_its_reader_closes_the_pipe_also_without_a_new_message(shell: Shell) -> None:
    shell.run("publish", "left", "one")
    with shell.start("history", "left", "--follow") as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b"one\n")
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_characters_outside_the_encoding_are_printed_as_escapes(shell: Shell) -> None:
    shell.run("publish", "latin", "日本")
    shell.env |= {"PYTHONIOENCODING": "latin-1"}
    assert shell.run("history", "latin").endswith("ann: \\u65e5\\u672c\n")


def test_that_nothing_is_found_is_said_on_standard_error(shell: Shell) -> None:
    assert shell.run("history", "empty") == ""
    assert shell.stderr == "chatkit: there are no messages in empty ('chatkit rooms' lists the rooms)\n"
    shell.run("publish", "found", "hi")
    for words in (["found", "--search", "absent"], ["found", "--after", "1"], ["--search", "absent"]):
        assert shell.run("history", *words) == ""
        assert shell.stderr == f"chatkit: no message{' of found' if words[0] == 'found' else ''} matches\n"
    assert shell.run("history", "found", "--search", "absent", "--json") == ""
    assert shell.stderr == ""
