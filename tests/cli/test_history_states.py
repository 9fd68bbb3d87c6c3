"""`chatkit history`: the state of messages, the raw log, past states, marks and notices."""

import csv
import io
import json
from pathlib import Path

import pytest
from cli_runner import CommandRunner
from harness import run
from hypothesis import given
from hypothesis import strategies as st

from chatkit.backends import open_backend
from chatkit.cli.chat.style import Style
from chatkit.cli.formats import markdown
from chatkit.cli.history_text import HistoryText
from chatkit.cli.hits import split_at_hits
from chatkit.cli.message_notes import state_note
from chatkit.core.message_state import Act, Edit, MessageState, Reaction
from chatkit.core.model import Draft, Message
from chatkit.core.text import fold, normalize

STORE = "sqlite:///rooms.db"
MINUTE_MS = 60_000
START_MS = 1_600_000_000_000  # 2020-09-13T12:26:40Z


def entry(seq: int, sender: str, body: str, of: int | None = None, act: Act | None = None, **parts: object) -> Message:
    """Return an entry of the room `ops`, which is written `seq` minutes after the start."""
    return Message("ops", "", seq, START_MS + seq * MINUTE_MS, sender, body, of=of, act=act, **parts)  # type: ignore[arg-type]


LOG = [
    entry(1, "ann", "backup dnoe"),
    entry(2, "bob", "thanks\nann", of=1),
    entry(3, "cat", "👍", 1, Act.REACT),
    entry(4, "ann", "backup done", 1, Act.EDIT),
    entry(5, "bob", "", 1, Act.PIN),
    entry(6, "bob", "👍", 1, Act.REACT),
    entry(7, "cat", "👍", 1, Act.UNREACT),
    entry(8, "dan", "and now?", of=2),
]


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    async def load() -> None:
        async with open_backend(f"sqlite:///{tmp_path / 'rooms.db'}") as backend:
            await backend.load(LOG)

    run(load())
    return CommandRunner(tmp_path, monkeypatch, "--backend", STORE)


def lines(text: str) -> list[str]:
    """Return the lines without the date of a message or a change."""
    return [line.replace("2020-09-13 ", "") for line in text.splitlines()]


def test_messages_are_printed_in_their_current_state(chatkit: CommandRunner) -> None:
    assert lines(chatkit.run("history", "ops")) == [
        "12:27:40 ann: backup done",
        "  (edited)  (pinned)  👍 1 bob  1 reply",
        "12:28:40 bob: thanks",
        "    ann",
        "  ↳ #1 ann: backup done",
        "  1 reply",
        "12:34:40 dan: and now?",
        "  ↳ #2 bob: thanks…",
    ]
    assert chatkit.stderr == ""


def test_a_reply_quotes_a_message_that_is_not_among_those_printed(chatkit: CommandRunner) -> None:
    assert lines(chatkit.run("history", "ops", "-n", "1")) == ["12:34:40 dan: and now?", "  ↳ #2 bob: thanks…"]


def test_the_raw_log_is_printed_as_it_was_written(chatkit: CommandRunner) -> None:
    assert lines(chatkit.run("history", "ops", "--raw")) == [
        "12:27:40 ann: backup dnoe",
        "12:28:40 bob: thanks",
        "    ann",
        "  ↳ #1 ann: backup dnoe",
        "  12:29:40 cat reacted to #1 with 👍",
        "  12:30:40 ann edited #1: backup done",
        "  12:31:40 bob pinned #1",
        "  12:32:40 bob reacted to #1 with 👍",
        "  12:33:40 cat removed 👍 from #1",
        "12:34:40 dan: and now?",
        "  ↳ #2 bob: thanks…",
    ]
    assert [row["seq"] for row in chatkit.rows("history", "ops", "--raw")] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("time", "printed"),
    [
        ("2020-09-13T12:27:00Z", []),
        ("2020-09-13T12:28:00Z", ["12:27:40 ann: backup dnoe"]),
        (
            "2020-09-13T12:30:00Z",
            [
                "12:27:40 ann: backup dnoe", "  👍 1 cat  1 reply",
                "12:28:40 bob: thanks", "    ann", "  ↳ #1 ann: backup dnoe",
            ],
        ),
        (
            "2020-09-13T12:33:00Z",
            [
                "12:27:40 ann: backup done", "  (edited)  (pinned)  👍 2 bob, cat  1 reply",
                "12:28:40 bob: thanks", "    ann", "  ↳ #1 ann: backup done",
            ],
        ),
    ],
)  # fmt: skip
def test_a_room_is_printed_as_it_was_at_a_time(chatkit: CommandRunner, time: str, printed: list[str]) -> None:
    assert lines(chatkit.run("history", "ops", "--as-of", time)) == printed


def test_a_state_of_a_time_is_selected(chatkit: CommandRunner) -> None:
    at = ("--as-of", "2020-09-13T12:33:00Z")
    (newest,) = chatkit.rows("history", "ops", *at, "-n", "1")
    assert newest["seq"] == 2
    assert "replies" not in newest
    assert [row["seq"] for row in chatkit.rows("history", "ops", *at, "--search", "DONE")] == [1]
    assert [row["seq"] for row in chatkit.rows("history", "ops", *at, "--pinned")] == [1]
    assert chatkit.rows("history", "ops", "--as-of", "2020-09-13T12:30:00Z", "--pinned") == []
    assert chatkit.rows("history", "ops", "--as-of", "2020-09-13T12:30:00Z", "--search", "done") == []


def test_what_was_redacted_later_is_in_no_past_state(chatkit: CommandRunner) -> None:
    chatkit.run("redact", "ops", "1", "--yes")
    for words in (["--as-of", "2020-09-13T12:33:00Z"], ["--raw"]):
        printed = chatkit.run("history", "ops", *words)
        assert "ann: (redacted)" in printed
        assert "backup" not in printed


def test_pinned_messages_and_replies_are_selected(chatkit: CommandRunner) -> None:
    assert [row["seq"] for row in chatkit.rows("history", "ops", "--pinned")] == [1]
    assert [row["seq"] for row in chatkit.rows("history", "ops", "--of", "#1")] == [2]
    assert [row["seq"] for row in chatkit.rows("history", "ops", "--of", "1", "--raw")] == [2, 3, 4, 5, 6, 7]
    assert chatkit.refused("history", "ops", "--raw", "--pinned").endswith("leave out --pinned")
    assert chatkit.refused("history", "ops", "--as-of", "1h", "--raw").startswith("--raw prints the log")
    assert chatkit.refused("history", "ops", "--as-of", "1h", "--after", "1").endswith("leave out --after")
    assert chatkit.refused("history", "ops", "--as-of", "1h", "--follow").endswith("leave out --as-of")
    assert chatkit.refused("history", "ops", "--follow", "--until", "1h").startswith("--follow has no end")


def test_the_other_formats_have_the_state(chatkit: CommandRunner) -> None:
    (first, second, _) = csv.DictReader(io.StringIO(chatkit.run("history", "ops", "--format", "csv")))
    assert (first["body"], first["edited"], first["replies"], first["pinned"]) == (
        "backup done", "2020-09-13T12:30:40.000Z", "1", "true",
    )  # fmt: skip
    assert json.loads(first["reactions"]) == {"👍": {"count": 1, "by": ["bob"]}}
    assert (second["of"], second["act"], second["edited"]) == ("1", "", "")
    printed = chatkit.run("history", "ops", "--format", "markdown")
    assert "> backup done\n\n(edited)  (pinned)  👍 1 bob  1 reply\n" in printed
    assert "> thanks\\\n> ann\n\n↳ \\#1 ann: backup done\n" in printed
    raw = chatkit.run("history", "ops", "--format", "markdown", "--raw")
    assert "**ann** 2020-09-13 12:30:40 edited \\#1: backup done\n" in raw


def test_a_notice_says_that_older_messages_are_left_out(chatkit: CommandRunner, tmp_path: Path) -> None:
    async def publish() -> None:
        async with open_backend(f"sqlite:///{tmp_path / 'rooms.db'}") as backend:
            await backend.append([Draft("ops", "ann", f"line {n}") for n in range(60)])

    run(publish())
    assert len(chatkit.run("history", "ops", "--search", "line").splitlines()) == 50
    assert (
        chatkit.stderr
        == "chatkit: these are the newest 50 messages that match (-n 0 prints all, --before 19 the older ones)\n"
    )
    chatkit.run("history", "ops")
    assert "the newest 50 messages of the 68 messages and changes in the room (-n 0 prints all" in chatkit.stderr
    chatkit.run("history", "ops", "--as-of", "0s")
    assert chatkit.stderr.endswith(" in the room (-n 0 prints all)\n")
    chatkit.run("history", "--search", "line")
    assert chatkit.stderr == "chatkit: these are the newest 50 messages that match (-n 0 prints all)\n"
    for words in (["-n", "50"], ["-n", "0"], ["--json"], ["--before", "3"]):
        chatkit.run("history", "ops", *words)
        assert chatkit.stderr == ""


# What a terminal shows


def test_a_terminal_shows_numbers_and_marks_hits() -> None:
    text = HistoryText(Style(is_coloured=True, palette=("36",)), shows_seq=True, shows_room=True, search="DONE")
    assert text.text_of(LOG[0]) == "\x1b[2m2020-09-13 12:27:40 ops #1\x1b[0m \x1b[36mann\x1b[0m: backup dnoe"
    assert text.text_of(entry(9, "ann", "done, Done")).endswith(": \x1b[1;7mdone\x1b[0m, \x1b[1;7mDone\x1b[0m")
    assert text.text_of(LOG[4]) == "\x1b[2m  2020-09-13 12:31:40 ops #5 bob pinned #1\x1b[0m"


def test_notes_are_wrapped_to_the_width_of_a_terminal() -> None:
    state = MessageState(Edit(3, 0), (Reaction("👍", 4, ("ann", "bob", "cat", "dan")),))
    answer = entry(2, "bob", "hi", of=1, state=state)
    head, *notes = HistoryText(width=20).text_of(answer, entry(1, "ann", "is the backup done?")).split("\n")
    assert head.endswith(" bob: hi")
    assert notes == [
        "  ↳ #1 ann: is the",
        "    backup done?",
        "  (edited)  👍 4",
        "    ann, bob, cat,",
        "    dan",
    ]
    assert HistoryText().text_of(answer).count("\n") == 2


def test_no_text_imitates_a_message_or_a_note() -> None:
    body = "x\n  (pinned)\n2020-09-13 12:27:40 bob: hi\x1b[2J"
    for item in (entry(1, "ann", body), entry(2, "ann", body, 1, Act.EDIT)):
        _, *others = HistoryText().text_of(item).split("\n")
        assert others == ["      (pinned)", "    2020-09-13 12:27:40 bob: hi␛[2J"]
    evil = Reaction(":x:", 25, ("ann\n\x1b[2J", "bob"))
    assert state_note(entry(1, "a", "b", state=MessageState(None, (evil,)))) == ":x: 25 ann␊␛[2J, bob and 23 more"


def test_markdown_escapes_notes() -> None:
    quoted = entry(1, "*ann*", "# [x](http://x)")
    state = MessageState(Edit(3, 0), (Reaction("👍", 1, ("_bob_",)),))
    printed = markdown(entry(2, "bob", "hi", of=1, state=state), quoted)
    assert "↳ \\#1 \\*ann\\*: \\# \\[x\\](http://x)\n" in printed
    assert "(edited)  👍 1 \\_bob\\_\n" in printed


@given(st.text(alphabet="aAsßS\u0308öO é\u0301ﬁ\n", max_size=20), st.text(alphabet="asßSö\u0308oéfi", max_size=4))
def test_the_pieces_are_the_text_and_hits_are_what_a_search_finds(text: str, search: str) -> None:
    pieces = split_at_hits(text, search)
    assert "".join(piece for piece, _ in pieces) == normalize(text)
    hits = [piece for piece, is_hit in pieces if is_hit]
    assert all(fold(search) in piece.casefold() for piece in hits)
    assert bool(hits) == (search != "" and fold(search) in fold(text))
