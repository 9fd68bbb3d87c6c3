"""`chatkit import` of Slack exports and IRC logs."""

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_runner import CommandRunner

from chatkit.cli.importers import slack
from chatkit.cli.importers.foreign_message import room_from, sender_from
from chatkit.cli.importers.irc import IrcLine, IrssiParser, WeechatParser, room_of_file
from chatkit.cli.importers.slack_text import readable
from chatkit.errors import BadRequest

WEECHAT = """\
2026-11-20 11:40:00\t-->\tann (~ann@example.org) has joined #ops
2026-11-20 11:47:21\t@ann\thello\tworld
2026-11-20 11:47:21\t@ann\thello\tworld
2026-11-20 11:47:30\t *\tann waves
2026-11-20 11:47:31\t--\tMode #ops [+o ann] by server
2026-11-20 11:47:32\t--\tNotice(bob) -> #ops: careful
2026-11-20 11:47:40\t<--\tann (~ann@example.org) has quit
2026-11-20 12:00:00.250000Z\tbob\t\x02bold\x0f \x0304,01red\x03
"""
IRSSI = """\
--- Log opened Fri Nov 20 11:47:00 2026
11:47 <@ann> hello
11:47 < bob> <hi>
11:48  * ann waves
11:48 -!- bob [~bob@example.org] has joined #ops
11:48 -!- ann is now known as ann_
11:49 -bob:#ops- careful
--- Day changed Sat Nov 21 2026
00:01 <+cat> next day
--- Log closed Sat Nov 21 10:00:00 2026
"""
CHANNELS = [{"id": "C1", "name": "general", "members": ["U1"]}, {"id": "C2", "name": "random"}]
USERS = [
    {"id": "U1", "name": "ann.lee", "profile": {"display_name": "ann", "real_name": "Ann Lee"}},
    {"id": "U2", "name": "bob", "profile": {"display_name": "", "real_name": "Bob\u200b  Ray"}},
]
FIRST_DAY: list[dict[str, Any]] = [
    {"type": "message", "user": "U2", "text": "second", "ts": "1577836801.000200", "thread_ts": "1577836800.000100"},
    {
        "type": "message",
        "user": "U1",
        "text": "hi <@U2>, see <https://example.org/a|the page> &amp; <#C2|random>",
        "ts": "1577836800.000100",
        "edited": {"user": "U1", "ts": "1577836900.000000"},
        "reactions": [{"name": "tada", "users": ["U2"], "count": 1}],
        "blocks": [{"type": "rich_text"}],
    },
]
SECOND_DAY: list[dict[str, Any]] = [
    {"type": "message", "subtype": "bot_message", "username": "CI", "bot_id": "B1", "ts": "1577923200.000000",
     "text": "", "attachments": [{"fallback": "build failed"}]},
    {"type": "message", "user": "U9", "ts": "1577923201.5", "text": "", "user_profile": {"real_name": "Cat"},
     "files": [{"id": "F1", "name": "a.png", "url_private": "https://example.org/a.png"}]},
]  # fmt: skip


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    return CommandRunner(tmp_path, monkeypatch, "--backend", "sqlite:///rooms.db")


def messages(chatkit: CommandRunner, room: str) -> list[dict[str, Any]]:
    return chatkit.rows("history", room)


def lines(chatkit: CommandRunner, room: str) -> list[tuple[str, str, str]]:
    return [(message["time"], message["sender"], message["body"]) for message in messages(chatkit, room)]


def slack_zip(files: dict[str, Any], name: str = "export.zip") -> str:
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content if isinstance(content, bytes) else json.dumps(content))
    return name


def whole_export(**more: Any) -> dict[str, Any]:
    days = {"general/2020-01-01.json": FIRST_DAY, "general/2020-01-02.json": SECOND_DAY, "random/2020-01-01.json": []}
    return {"channels.json": CHANNELS, "users.json": USERS, **days, **more}


# IRC


def test_a_weechat_log_is_imported_once(chatkit: CommandRunner) -> None:
    Path("irc.example.#ops.weechatlog").write_text(WEECHAT)
    words = ("import", "irc.example.#ops.weechatlog", "--format", "weechat", "--timezone", "Europe/Paris")
    assert chatkit.json(*words)["messages"] == 5
    assert lines(chatkit, "ops") == [
        ("2026-11-20T10:47:21.000Z", "ann", "hello\tworld"),
        ("2026-11-20T10:47:21.000Z", "ann", "hello\tworld"),
        ("2026-11-20T10:47:30.000Z", "ann", "/me waves"),
        ("2026-11-20T10:47:32.000Z", "bob", "careful"),
        ("2026-11-20T12:00:00.250Z", "bob", "bold red"),
    ]
    summary = chatkit.json(*words)
    assert (summary["messages"], summary["known"]) == (0, 5)
    with Path("irc.example.#ops.weechatlog").open("a") as log:
        log.write("2026-11-20 20:00:00\tann\tlater\n")
    assert chatkit.json(*words)["messages"] == 1


def test_an_irssi_log_is_imported_in_the_zone_of_the_machine(chatkit: CommandRunner) -> None:
    Path("#ops.log").write_text(IRSSI)
    assert chatkit.json("import", "#ops.log", "--format", "irssi")["messages"] == 5
    expected = [
        ((2026, 11, 20, 11, 47), "ann", "hello"),
        ((2026, 11, 20, 11, 47), "bob", "<hi>"),
        ((2026, 11, 20, 11, 48), "ann", "/me waves"),
        ((2026, 11, 20, 11, 49), "bob", "careful"),
        ((2026, 11, 21, 0, 1), "cat", "next day"),
    ]
    found = messages(chatkit, "ops")
    assert [(message["sender"], message["body"]) for message in found] == [line[1:] for line in expected]
    for message, (when, _, _) in zip(found, expected, strict=True):
        assert datetime.fromisoformat(message["time"]) == datetime(*when).astimezone(UTC)
    assert found[2]["data"] == {"irc": {"kind": "action"}}


def test_the_hour_that_comes_twice_is_recognised(chatkit: CommandRunner) -> None:
    log = "".join(
        f"2026-10-25 {time}\tann\thi\n" for time in ("02:30:00", "02:59:00", "02:01:00", "02:30:00", "03:00:00")
    )
    Path("log").write_text(log)
    chatkit.run("import", "log", "--format", "weechat", "--room", "ops", "--timezone", "Europe/Paris")
    times = [line[0][11:16] for line in lines(chatkit, "ops")]
    assert times == ["00:30", "00:59", "01:01", "01:30", "02:00"]


def test_a_bad_line_of_a_log_is_named_or_skipped(chatkit: CommandRunner) -> None:
    Path("#ops.log").write_bytes(b"11:47 <ann> no date\n" + IRSSI.encode() + b"junk\n00:02 <cat> caf\xe9\n")
    words = ("import", "#ops.log", "--format", "irssi")
    refused = chatkit.refused(*words, status=1)
    assert refused.startswith("line 1: the date is not known")
    assert refused.endswith("is it a log of irssi?")
    summary = chatkit.json(*words, "--skip-bad")
    assert (summary["messages"], summary["skipped_lines"]) == (6, 2)
    assert "2 lines could not be read" in chatkit.stderr
    assert lines(chatkit, "ops")[-1][2] == "café"


def test_a_message_of_a_time_that_no_client_reads_is_refused(chatkit: CommandRunner) -> None:
    Path("#ops.log").write_text("9999-06-01 11:47:21\tann\thello\n")
    refused = chatkit.refused("import", "#ops.log", "--format", "weechat", status=1)
    assert refused == "a message of ann is of the year 9999 or later"


def test_a_room_with_newer_messages_is_left_alone(chatkit: CommandRunner) -> None:
    chatkit.run("publish", "ops", "new")
    Path("#ops.log").write_text(IRSSI.replace("2026", "2020"))
    words = ("import", "#ops.log", "--format", "irssi")
    assert "has messages that are newer than 2020-11-20" in chatkit.refused(*words, status=1)
    assert len(messages(chatkit, "ops")) == 1
    assert chatkit.json(*words, "--room", "#old-ops")["messages"] == 5
    chatkit.run("publish", "old-ops", "new")
    # Newer messages do not matter if none is to be added.
    assert chatkit.json(*words, "--room", "old-ops")["known"] == 5


def test_an_import_that_was_interrupted_continues(chatkit: CommandRunner) -> None:
    half = IRSSI.splitlines(keepends=True)[:4]
    Path("#ops.log").write_text("".join(half))
    words = ("import", "#ops.log", "--format", "irssi")
    chatkit.run(*words)
    Path("#ops.log").write_text(IRSSI)
    summary = chatkit.json(*words)
    assert (summary["known"], summary["messages"]) == (3, 2)


def test_the_options_of_a_log_are_checked(chatkit: CommandRunner) -> None:
    Path("ops").write_text(WEECHAT)
    assert "has no channel" in chatkit.refused("import", "ops", "--format", "weechat")
    words = ("import", "ops", "--format", "weechat", "--room", "ops")
    assert "there is no time zone 'Mars'" in chatkit.refused(*words, "--timezone", "Mars")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "junk",
        "2026-11-20 11:47:21",
        "2026-11-20 11:47:21\tann",
        "2026-13-20 11:47\ta\tb",
        "0001-01-01T00:00+14:00\ta\tb",
    ],
)
def test_lines_that_are_not_weechats_are_refused(line: str) -> None:
    with pytest.raises(BadRequest):
        WeechatParser().parse(line)


def test_irssi_lines_with_dates_and_seconds() -> None:
    parser = IrssiParser()
    assert parser.parse("2026-11-20 11:47:21 <@ann> hi") == IrcLine(datetime(2026, 11, 20, 11, 47, 21), "ann", "hi")  # noqa: DTZ001
    for bad in ("25:00 <ann> hi", "--- Day changed lun. nov. 21 2026", "--- Day changed Mon Feb 31 2026", "hello"):
        with pytest.raises(BadRequest):
            parser.parse(bad)


def test_names_of_other_programs_become_names_here() -> None:
    assert sender_from("ann") == "ann"
    assert sender_from(" a\u200bn\tn\x00 ") == "an n"
    assert sender_from("x" * 5_000) == "x" * 32
    assert sender_from("\u200b") == "anonymous"
    assert room_from("##c++") == "c--"
    assert room_of_file("/logs/irc.libera.##chat.room.weechatlog") == "chat.room"
    with pytest.raises(BadRequest, match="--room"):
        room_from("#")


# Slack


def test_a_slack_export_is_imported_once(chatkit: CommandRunner) -> None:
    file = slack_zip(whole_export(**{"dms.json": [{"id": "D1", "members": ["U1", "U2"]}]}))
    assert chatkit.json("import", file, "--format", "slack")["messages"] == 4
    assert "1 conversations are left out: --private imports them, too" in chatkit.stderr
    assert lines(chatkit, "general") == [
        ("2020-01-01T00:00:00.000Z", "ann", "hi @Bob Ray, see the page (https://example.org/a) & #random"),
        ("2020-01-01T00:00:01.000Z", "Bob Ray", "second"),
        ("2020-01-02T00:00:00.000Z", "CI", "build failed"),
        ("2020-01-02T00:00:01.500Z", "Cat", "[file: a.png] https://example.org/a.png"),
    ]
    first, second, third, _ = messages(chatkit, "general")
    assert first["key"] == "slack:1577836800.000100"
    assert first["data"]["slack"]["reactions"] == FIRST_DAY[1]["reactions"]
    assert first["data"]["slack"]["edited"] == FIRST_DAY[1]["edited"]
    assert first["data"]["slack"]["text"] == FIRST_DAY[1]["text"]
    assert second["data"] == {"slack": {"user": "U2", "thread_ts": "1577836800.000100"}}
    assert third["bot"] is True
    summary = chatkit.json("import", file, "--format", "slack")
    assert (summary["messages"], summary["known"]) == (0, 4)


def test_conversations_are_imported_if_that_is_wanted(chatkit: CommandRunner) -> None:
    dm = {"dms.json": [{"id": "D1", "members": ["U2", "U1"]}], "D1/2020-01-01.json": FIRST_DAY}
    file = slack_zip(whole_export(**dm))
    summary = chatkit.json("import", file, "--format", "slack", "--private", "--only", "D1")
    assert summary["rooms"] == ["dm-Bob-Ray-ann"]
    assert summary["messages"] == 2


def test_one_channel_is_chosen_and_renamed(chatkit: CommandRunner) -> None:
    file = slack_zip(whole_export())
    words = ("import", file, "--format", "slack")
    assert "choose the one for --room by --only" in chatkit.refused(*words, "--room", "old")
    assert "has no channel 'nothing'" in chatkit.refused(*words, "--only", "nothing")
    assert chatkit.json(*words, "--only", "general", "--room", "old")["rooms"] == ["old"]


def test_damaged_and_hostile_zip_files_are_refused(chatkit: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(file: str, status: int = 1) -> str:
        return chatkit.refused("import", file, "--format", "slack", status=status)

    Path("text.zip").write_text("hello")
    assert "is not a zip file" in refusal("text.zip", 2)
    assert "cannot be read from a pipe" in refusal("-", 2)
    assert "has no channels.json" in refusal(slack_zip({"../../evil": b"x"}), 2)
    assert "is not a file of a Slack export" in refusal(slack_zip(whole_export(**{"users.json": b"{"})))
    assert "is not a file of a Slack export" in refusal(slack_zip(whole_export(**{"users.json": b"[" * 100_000})))
    assert "has no valid 'ts'" in refusal(slack_zip(whole_export(**{"general/2020-01-01.json": [{"text": "x"}]})))
    large = slack_zip(whole_export(**{"general/2020-01-01.json": b" " * (slack.MAX_MEMBER_BYTES + 1)}))
    assert "is larger than 32 MiB" in refusal(large)
    monkeypatch.setattr(slack, "MIN_TOTAL_BYTES", 1_000)
    bomb = slack_zip(whole_export(**{"general/2020-01-01.json": b"[" + b" " * 1_000_000 + b"]"}))
    assert "it is not an export" in refusal(bomb)
    content = bytearray(Path(slack_zip(whole_export())).read_bytes())
    content[content.index(b"users.json") + 15] ^= 0xFF
    Path("damaged.zip").write_bytes(content)
    assert "cannot be read" in refusal("damaged.zip")
    assert not Path("../../evil").exists()


def test_a_size_that_the_zip_file_declares_too_small_is_noticed(chatkit: CommandRunner) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("channels.json", json.dumps([{"id": "C1", "name": "x" * 50}]))
    size = len(json.dumps([{"id": "C1", "name": "x" * 50}]))
    Path("liar.zip").write_bytes(file.getvalue().replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little")))
    chatkit.refused("import", "liar.zip", "--format", "slack", status=1)


def test_data_that_is_too_large_loses_its_largest_fields(chatkit: CommandRunner) -> None:
    message = {**FIRST_DAY[0], "attachments": [{"text": "y" * 70_000}]}
    chatkit.run("import", slack_zip(whole_export(**{"general/2020-01-01.json": [message]})), "--format", "slack")
    assert messages(chatkit, "general")[0]["data"]["slack"]["omitted"] == ["attachments"]


def test_a_message_of_many_fields_is_bounded_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def encoded_bytes(n_fields: int) -> int:
        n_bytes = 0

        def encode(value: object) -> bytes:
            nonlocal n_bytes
            encoded = json.dumps(value, separators=(",", ":")).encode()
            n_bytes += len(encoded)
            return encoded

        with monkeypatch.context() as patch:
            patch.setattr(msgspec.json, "encode", encode)
            bounded = slack._bounded({f"field{number}": "x" for number in range(n_fields)})
        assert len(msgspec.json.encode(bounded)) <= slack.MAX_DATA_BYTES
        assert bounded["omitted"]
        return n_bytes

    assert encoded_bytes(20_000) <= 2.5 * encoded_bytes(10_000)


def test_a_message_that_is_in_two_files_is_imported_once(chatkit: CommandRunner) -> None:
    file = slack_zip(whole_export(**{"general/2020-01-02.json": [*FIRST_DAY[:1], *SECOND_DAY]}))
    assert chatkit.json("import", file, "--format", "slack")["messages"] == 4


def test_a_text_that_is_too_long_is_named(chatkit: CommandRunner) -> None:
    message = {**FIRST_DAY[0], "text": "y" * (2**20 + 1)}
    file = slack_zip(whole_export(**{"general/2020-01-01.json": [message]}))
    refused = chatkit.refused("import", file, "--format", "slack", status=1)
    assert refused.startswith("the message of 2020-01-01T00:00:01.000Z in general: a body holds at most")


def test_channels_that_would_become_one_room_are_refused(chatkit: CommandRunner) -> None:
    channels = [{"id": "C1", "name": "a!"}, {"id": "C2", "name": "a?"}]
    file = slack_zip({"channels.json": channels, "users.json": []})
    assert "two channels would become the room 'a-'" in chatkit.refused("import", file, "--format", "slack")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<@U1> <@U3> <@U3|zoe>", "@ann @U3 @zoe"),
        ("<!here> <!subteam^S1|@team> <!subteam^S1> <!date^1^{date}|yesterday>", "@here @team @subteam yesterday"),
        ("<#C2> <#C2|> <#C9>", "#random #random #C9"),
        ("<https://example.org> <http://example.org|example.org>", "https://example.org http://example.org"),
        ("<mailto:a@example.org|a@example.org> <tel:+1|call>", "a@example.org call (tel:+1)"),
        ("a &lt;b&gt; &amp;amp; < c", "a <b> &amp; < c"),
        ("<" * 50_000, "<" * 50_000),
    ],
)
def test_slack_markup_is_readable(text: str, expected: str) -> None:
    assert readable(text, {"U1": "ann"}, {"C2": "random"}) == expected
