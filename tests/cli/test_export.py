"""`chatkit export` and `import`: what goes into a file comes out of it, once, from and to every store."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import stores
from cli_runner import CommandRunner
from faulty_backend import Faults
from harness import run, turns
from serving import clean_environment, serve

from chatkit.backends import open_backend
from chatkit.cli.export import ExportInterrupted, read_page
from chatkit.cli.importers.log_loader import ImportCounts, ImportFailed, LogLoader
from chatkit.cli.store_client import StoreClient
from chatkit.core.model import Cursor, Draft, Message

SOURCE, TARGET = "sqlite:///source.db", "sqlite:///target.db"
DOCUMENT = Path(__file__).parents[2] / "docs" / "backup.md"
MESSAGES = [
    Message("ops", "", 3, 1_600_000_000_001, "ann", "one\ntwo", key="k"),
    Message("ops", "", 4, 1_600_000_000_000, "bob", "ü \u202e \0", {"n": [1, None]}, "k", verified=True),
    Message("ops", "", 5, 1_600_000_000_000, "ann", "", redacted=True, key="l", bot=True),
    Message("ops", "", 6, 1_600_000_000_000, "Ünï '\"", "", [], verified=True, bot=True),
    Message("deploys", "", 1, 1_500_000_000_000, "ann", "x" * 60_000),
]


@pytest.fixture
def chatkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    load(f"sqlite:///{tmp_path / 'source.db'}", MESSAGES)
    return CommandRunner(tmp_path, monkeypatch)


def load(url: str, messages: Sequence[Message]) -> None:
    async def main() -> None:
        async with open_backend(url) as backend:
            for message in messages:
                await backend.load([message])

    asyncio.run(main())


def export(chatkit: CommandRunner, store: str, *rooms: str) -> str:
    return chatkit.run("export", *rooms, "--backend", store)


def save(text: str, name: str = "rooms.jsonl") -> str:
    Path(name).write_text(text)
    return name


def of_messages(text: str) -> list[dict[str, object]]:
    return [line for line in map(json.loads, text.splitlines()) if "type" not in line]


def test_an_import_makes_the_same_rooms_and_a_second_one_stores_nothing(chatkit: CommandRunner) -> None:
    chatkit.run("room", "set", "ops", "--topic", "on call", "--keep", "100", "--archive", "--backend", SOURCE)
    exported = export(chatkit, SOURCE)
    lines = exported.splitlines()
    assert json.loads(lines[0]) == {"type": "export", "version": 1}
    assert json.loads(lines[-1]) == {"type": "end", "rooms": 2, "messages": 5}
    assert exported.isascii() or exported.replace("\n", "").isprintable()  # safe for a terminal
    file = save(exported)
    assert chatkit.run("import", file, "--backend", TARGET) == "imported 5 messages into 2 rooms\n"
    assert export(chatkit, TARGET) == exported
    summary = chatkit.json("import", file, "--backend", TARGET)
    assert (summary["messages"], summary["known"], summary["complete"]) == (0, 5, True)
    assert export(chatkit, TARGET) == exported


@pytest.mark.parametrize("store", [stores.redis, stores.postgres])
def test_rooms_move_to_another_kind_of_store_and_back(chatkit: CommandRunner, store: Callable[[], str]) -> None:
    url = store()
    exported = export(chatkit, SOURCE)
    chatkit.run("import", save(exported), "--backend", url)
    assert export(chatkit, url) == exported
    chatkit.run("import", save(export(chatkit, url)), "--backend", TARGET)
    assert export(chatkit, TARGET) == exported


def test_settings_that_a_room_has_are_kept(chatkit: CommandRunner) -> None:
    chatkit.run("room", "set", "ops", "--topic", "theirs", "--backend", SOURCE)
    load(TARGET, MESSAGES[:1])
    chatkit.run("room", "set", "ops", "--topic", "mine", "--backend", TARGET)
    chatkit.run("import", save(export(chatkit, SOURCE)), "--backend", TARGET)
    assert '"topic":"mine"' in export(chatkit, TARGET, "ops")


def test_an_export_holds_no_secret_and_no_room_of_the_server(chatkit: CommandRunner) -> None:
    token = chatkit.json("token", "add", "ann", "--read", "*", "--backend", SOURCE)
    exported = export(chatkit, SOURCE)
    assert token["secret"] not in exported
    assert token["id"] not in exported
    assert {line["room"] for line in of_messages(exported)} == {"ops", "deploys"}


def test_the_audit_says_who_imported_what_into_the_store(chatkit: CommandRunner) -> None:
    file = save(export(chatkit, SOURCE))
    for _ in range(2):  # the second import changes nothing
        chatkit.run("import", file, "--backend", TARGET)
    (entry,) = chatkit.rows("history", ".audit", "--backend", TARGET)
    assert (entry["sender"], entry["body"]) == ("carol", "imported 5 messages into 2 rooms")
    assert entry["data"] == {
        "event": "messages-imported", "by": "carol", "from": "store", "target": "2 rooms",
        "rooms": ["deploys", "ops"], "messages": 5, "redacted": 0,
    }  # fmt: skip


def test_rooms_are_chosen_and_renamed(chatkit: CommandRunner) -> None:
    assert len(of_messages(export(chatkit, SOURCE, "#ops", "ops"))) == 4
    assert chatkit.refused("export", "nothing", "--backend", SOURCE, status=1) == "there is no room 'nothing'"
    file = save(export(chatkit, SOURCE))
    chatkit.run("import", file, "--room", "old", "--backend", TARGET, status=1)
    assert "there is a second room" in chatkit.stderr
    chatkit.run("import", file, "--only", "#ops", "--room", "older", "--backend", TARGET)
    assert [line["room"] for line in of_messages(export(chatkit, TARGET, "older"))] == ["older"] * 4
    sentence = chatkit.refused("import", file, "--only", "nothing", "--backend", TARGET, status=1)
    assert sentence == "the file has no room 'nothing'"
    assert "'ops'" in chatkit.refused("export", "ops", "--backend", TARGET, status=1)


def test_a_file_with_decomposed_names_makes_the_rooms_that_are_meant(chatkit: CommandRunner, tmp_path: Path) -> None:
    room = "Zu\u0308rich"
    lines = [
        {"type": "export", "version": 1},
        {"type": "room", "room": room, "first": 1, "last": 1, "topic": "lake"},
        {"room": room, "seq": 1, "time": "2026-11-20T11:47:21Z", "sender": "Zoe\u0308", "body": "hi"},
        {"type": "end", "rooms": 1, "messages": 1},
    ]
    file = tmp_path / "decomposed.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    chatkit.run("import", str(file), "--only", room, "--backend", TARGET)
    assert chatkit.json("rooms", "Z\u00fcrich", "--backend", TARGET)["topic"] == "lake"
    assert chatkit.json("history", room, "--backend", TARGET)["sender"] == "Zo\u00eb"


def test_the_output_of_history_can_be_imported(chatkit: CommandRunner) -> None:
    file = save(chatkit.run("history", "ops", "--json", "--backend", SOURCE))
    chatkit.run("import", file, "--backend", TARGET)
    assert of_messages(export(chatkit, TARGET)) == of_messages(export(chatkit, SOURCE, "ops"))


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_a_part_of_an_export_is_imported_and_then_the_rest(chatkit: CommandRunner, cut: int) -> None:
    exported = export(chatkit, SOURCE)
    part = save(exported[:-cut])  # without the last line feed, without the end, within a message
    summary = json.loads(chatkit.run("import", part, "--json", "--backend", TARGET, status=0 if cut == 1 else 5))
    assert summary["complete"] is (cut == 1)
    assert ("not complete" in chatkit.stderr) is (cut > 1)
    chatkit.run("import", save(exported), "--backend", TARGET)
    assert export(chatkit, TARGET) == exported


BAD_LINES = {
    "not one of an export": '{"room":"ops","seq":2',
    "not a JSON object": "[1]",
    "`$.body`": '{"room":"ops","seq":2,"time":"2026-01-01T00:00:00Z","sender":"ann","body":1}',
    "not an RFC 3339 time": '{"room":"ops","seq":2,"time":"yesterday","sender":"ann","body":""}',
    "out of range": '{"room":"ops","seq":2,"time":"0001-01-01T00:00:00Z","sender":"ann","body":""}',
    "a room is": '{"room":".audit","seq":2,"time":"2026-01-01T00:00:00Z","sender":"ann","body":""}',
    "a sender is": '{"room":"ops","seq":2,"time":"2026-01-01T00:00:00Z","sender":"a\\u200bnn","body":""}',
    "a key is": '{"room":"ops","seq":2,"time":"2026-01-01T00:00:00Z","sender":"ann","body":"","key":""}',
    "does not follow": '{"room":"ops","seq":3,"time":"2026-01-01T00:00:00Z","sender":"ann","body":""}',
    "has version 9": '{"type":"export","version":9}',
    "Invalid value": '{"type":"something"}',
}


@pytest.mark.parametrize("reason", BAD_LINES)
def test_a_bad_line_is_named_and_the_lines_before_it_are_stored(chatkit: CommandRunner, reason: str) -> None:
    good = '{"room":"ops","seq":1,"time":"2026-01-01T00:00:00Z","sender":"ann","body":"hi"}'
    file = save(f"{good}\n{BAD_LINES[reason]}\n{good}\n")
    chatkit.run("import", file, "--backend", TARGET, status=1)
    assert "line 2: " in chatkit.stderr
    assert reason in chatkit.stderr
    assert "1 messages are stored; run the command again" in chatkit.stderr
    assert [line["body"] for line in of_messages(export(chatkit, TARGET))] == ["hi"]


def test_a_line_that_is_too_long_or_in_another_encoding_is_refused(chatkit: CommandRunner) -> None:
    Path("long.jsonl").write_bytes(b" " * (2**24 + 1))
    assert "longer than" in chatkit.refused("import", "long.jsonl", "--backend", TARGET)
    Path("utf16.jsonl").write_bytes(export(chatkit, SOURCE).encode("utf-16"))
    assert "UTF-16" in chatkit.refused("import", "utf16.jsonl", "--backend", TARGET, status=1)
    Path("mark.jsonl").write_bytes(b"\xef\xbb\xbf" + export(chatkit, SOURCE).replace("\n", "\r\n").encode())
    assert chatkit.json("import", "mark.jsonl", "--backend", TARGET)["messages"] == 5


def test_fields_that_are_not_known_are_reported(chatkit: CommandRunner) -> None:
    line = '{"room":"ops","seq":1,"time":"2026-01-01T00:00:00Z","sender":"ann","body":"hi","colour":"red"}'
    assert chatkit.json("import", save(f"{line}\n"), "--backend", TARGET)["unknown_fields"] == ["colour"]
    assert "does not store the fields colour" in chatkit.stderr


def test_few_of_many_fields_that_are_not_known_are_reported(chatkit: CommandRunner) -> None:
    fields = ",".join(f'"{"x" * 500}{number}":1' for number in range(1_000))
    line = '{"room":"ops","seq":1,"time":"2026-01-01T00:00:00Z","sender":"ann","body":"hi",' + fields + "}"
    chatkit.run("import", save(f"{line}\n"), "--backend", TARGET)
    assert len(chatkit.stderr) < 2_000


def test_the_documented_example_is_an_export(chatkit: CommandRunner) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    chatkit.run("import", save(example), "--backend", TARGET)
    assert export(chatkit, TARGET) == example


def test_a_room_with_other_messages_is_left_alone(chatkit: CommandRunner) -> None:
    load(TARGET, [Message("ops", "", 3, 1, "eve", "other"), Message("ops", "", 4, 2, "eve", "other")])
    before = export(chatkit, TARGET)
    file = save(export(chatkit, SOURCE, "ops"))
    refused = chatkit.refused("import", file, "--backend", TARGET, status=1)
    assert "has another message 3: import into another room with --room" in refused
    assert export(chatkit, TARGET) == before


def test_messages_that_were_deleted_since_are_not_stored_again(chatkit: CommandRunner) -> None:
    file = save(export(chatkit, SOURCE, "ops"))
    load(TARGET, [MESSAGES[2]])
    summary = chatkit.json("import", file, "--backend", TARGET)
    assert (summary["gone"], summary["known"], summary["messages"]) == (2, 1, 1)
    assert "2 messages were not stored again" in chatkit.stderr


def test_messages_that_come_before_the_beginning_of_their_room_are_refused(chatkit: CommandRunner) -> None:
    lines = of_messages(export(chatkit, SOURCE, "ops"))
    file = save("".join(f"{json.dumps(line)}\n" for line in reversed(lines)))
    chatkit.run("import", file, "--backend", TARGET, status=1)
    assert "line 2: message 5 of 'ops' comes after message 6" in chatkit.stderr


def test_a_redaction_is_imported_and_is_not_undone(chatkit: CommandRunner) -> None:
    before = save(export(chatkit, SOURCE), "before.jsonl")
    chatkit.run("import", before, "--backend", TARGET)
    chatkit.run("redact", "ops", "3", "--yes", "--backend", SOURCE)
    after = export(chatkit, SOURCE)
    assert chatkit.json("import", save(after), "--backend", TARGET)["redacted"] == 1
    assert export(chatkit, TARGET) == after
    assert chatkit.json("import", before, "--backend", TARGET)["known"] == 5
    assert export(chatkit, TARGET) == after


def test_an_import_needs_a_store_that_keeps_messages(chatkit: CommandRunner) -> None:
    file = save(export(chatkit, SOURCE))
    assert "give --backend" in chatkit.refused("import", file)
    assert "another store" in chatkit.refused("import", file, "--backend", "memory://")
    assert "--format must be one of" in chatkit.refused("import", file, "--format", "csv", "--backend", TARGET)
    assert "missing.jsonl" in chatkit.refused("import", "missing.jsonl", "--backend", TARGET, status=1)


def test_a_message_that_is_published_during_an_import_is_not_taken_for_an_imported_one() -> None:
    async def main() -> None:
        async with Faults(open_backend("memory://")) as backend:
            loader = LogLoader(backend, counts := ImportCounts())
            for message in (Message("ops", "", seq, 1, "ann", f"{seq}") for seq in (1, 2)):
                await loader.add(message, f"line {message.seq}")
            release = backend.hold("load")
            flushing = asyncio.create_task(loader.flush())
            await turns()
            await backend.append([Draft("ops", "eve", "in between")])
            release.set()
            with pytest.raises(ImportFailed, match="line 1-line 2: the room 'ops' has another message 1"):
                await flushing
            assert counts.n_known == 0

    run(main())


def test_an_export_ends_where_messages_are_deleted_meantime(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rooms.db'}"

    async def main() -> None:
        async with open_backend(url) as backend, StoreClient(url, "ann", print, make=False) as source:
            await backend.append([Draft("ops", "ann", f"{n}") for n in range(4)])
            view = await source.room("ops")
            page = await read_page(source, view, 0)
            await backend.trim("ops", keep=1)
            with pytest.raises(ExportInterrupted, match="after number 2 were deleted"):
                await read_page(source, view, page.messages[1].cursor)
            await backend.delete_room("ops")
            with pytest.raises(ExportInterrupted, match="began again"):
                await read_page(source, view, Cursor(page.cursor.epoch, 4))

    run(main())


def test_a_server_is_exported_through_a_pipe(chatkit: CommandRunner, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "chatkit.cli"]
    env = clean_environment({})
    with serve(tmp_path / "source.db") as server:
        source = subprocess.Popen([*words, "export", "--server", server.url], stdout=subprocess.PIPE, env=env)
        with source:
            target = [*words, "import", "-", "--backend", f"sqlite:///{tmp_path / 'target.db'}"]
            done = subprocess.run(target, stdin=source.stdout, capture_output=True, text=True, check=True, env=env)
        assert done.stdout == "imported 5 messages into 2 rooms\n"
        with subprocess.Popen(source.args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as cut:
            assert cut.stdout is not None
            cut.stdout.close()  # like a full disk: the file is not whole
            assert cut.wait(60) == 1
    assert export(chatkit, TARGET) == export(chatkit, SOURCE)
