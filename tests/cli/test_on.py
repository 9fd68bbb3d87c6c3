"""`chatkit on` in the event loop of the test: what is run, what comes again, what is stored, and how it ends."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from access_server import AccessServer, access_server, grant
from harness import eventually, run, until

from chatkit.cli import on_runner, on_source
from chatkit.cli.on_command import MessageCommand
from chatkit.cli.on_filter import MessageFilter, RoomPatterns
from chatkit.cli.on_report import OnReport
from chatkit.cli.on_runner import OnOptions, OnRunner
from chatkit.client import Client
from chatkit.client import consumption as consumption_module
from chatkit.core.consumer import ConsumerStatus
from chatkit.core.message_state import Act
from chatkit.core.model import Draft
from chatkit.errors import Forbidden
from chatkit.wire.codes import ExitCode


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_runner, "LOOK_S", 0.02)
    for module in (consumption_module, on_source):
        monkeypatch.setattr(module, "RETRY_S", 0.01)


class Site:
    """A server, and a folder in which commands note what they do, in the file `runs`."""

    def __init__(self, server: AccessServer, folder: Path) -> None:
        self.server = server
        self.hub = server.hub
        self.folder = folder

    async def publish(self, *bodies: str, room: str = "ops", sender: str = "ann", **parts: Any) -> None:
        for body in bodies:
            await self.hub.publish(Draft(room, sender, body, **parts))

    async def bodies(self, room: str = "ops") -> list[str]:
        return [message.body for message in (await self.hub.history(room)).messages]

    async def has_replies(self) -> bool:
        return any(message.of for message in (await self.hub.history("ops")).messages)

    async def status(self, name: str = "c") -> ConsumerStatus:
        return await self.hub.consumers.consumer("ops", name).status()

    def runs(self) -> list[str]:
        """Return the lines that the commands have noted."""
        path = self.folder / "runs"
        return path.read_text().splitlines() if path.exists() else []

    @asynccontextmanager
    async def on(
        self,
        *rooms: str,
        script: str = "",
        report: OnReport | None = None,
        own_name: str = "bot",
        timeout_s: float | None = None,
        name: str = "bot",
        **options: Any,
    ) -> AsyncIterator["asyncio.Task[ExitCode]"]:
        """Run `chatkit on` with a shell script, which begins with a note of the room and the number."""
        words = f'cd "{self.folder}"; echo "$CHATKIT_ROOM $CHATKIT_SEQ" >> runs; {script}'
        given = OnOptions(**{"consumer": "c", "after": "start"} | options)
        async with Client(self.server.url, name) as client:
            runner = OnRunner(
                client,
                RoomPatterns(list(rooms or ["ops"])),
                given,
                which=MessageFilter(own_name=own_name),
                command=MessageCommand(["sh", "-c", words], timeout_s=timeout_s, reads_output=given.reply),
                report=report or OnReport(),
            )
            running = asyncio.ensure_future(runner.run())
            try:
                yield running
            finally:
                if not running.done():
                    signal.raise_signal(signal.SIGTERM)
                    await running


async def end(running: "asyncio.Task[ExitCode]", number: int = signal.SIGTERM) -> ExitCode:
    signal.raise_signal(number)
    return await running


def with_site(test: Callable[[Site], Coroutine[Any, Any, None]], folder: Path, **settings: Any) -> None:
    async def main() -> None:
        async with access_server(**settings) as server:
            await test(Site(server, folder))

    run(main())


def test_a_command_runs_once_for_each_message_and_a_restart_goes_on(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        await site.publish("one", "two")
        await site.publish("mine", sender="bot")
        await site.publish("👍", of=1, act=Act.REACT)
        async with site.on() as running:
            await until(lambda: len(site.runs()) == 2)
            assert await end(running) is ExitCode.DONE
        await site.publish("three")
        async with site.on() as running:
            await until(lambda: len(site.runs()) == 3)
            assert await end(running, signal.SIGINT) is ExitCode.INTERRUPTED
        assert site.runs() == ["ops 1", "ops 2", "ops 5"]
        status = await site.status()
        assert (status.lag, status.leased, status.ordered) == (0, 0, True)

    with_site(test, tmp_path)


def test_a_failure_holds_back_later_messages_comes_again_and_is_reported_in_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def test(site: Site) -> None:
        await site.publish("one", "two")
        async with site.on(script='echo "no disk" >&2; test $CHATKIT_SEQ = 2', retries=1):
            await until(lambda: len(site.runs()) == 3)
        assert site.runs() == ["ops 1", "ops 1", "ops 2"]
        (letter,) = (await site.hub.history("ops.failed")).messages
        assert letter.data == {"consumer": "c", "seq": 1, "reason": "exit code 1: no disk", "tries": 2}

    with_site(test, tmp_path)
    assert capsys.readouterr().err.splitlines() == ["chatkit: ops #1 of ann failed: exit code 1: no disk"] * 2


def test_the_output_becomes_a_reply_that_is_stored_once(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        await site.publish("one")
        async with site.on(script='echo "done: $CHATKIT_SEQ at $(cat runs | wc -l)"', reply=True):
            await eventually(site.has_replies)
        assert (await site.bodies())[1:] == ["done: 1 at 1"]
        await site.hub.consumers.put("ops", "c", owner="bot", after="start")
        async with site.on(script='echo "done: $CHATKIT_SEQ at $(cat runs | wc -l)"', reply=True):
            await until(lambda: len(site.runs()) == 2)
        replies = (await site.hub.history("ops")).messages[1:]
        assert [(reply.body, reply.of, reply.sender) for reply in replies] == [("done: 1 at 1", 1, "bot")]
        assert (await site.status()).cursor.seq >= 1

    with_site(test, tmp_path)


def test_a_signal_lets_a_command_finish_and_a_second_one_kills_it(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        await site.publish("one", "two")
        script = "while [ ! -e go ]; do sleep 0.01; done; echo ended >> runs"
        async with site.on(script=script) as running:
            await until(lambda: len(site.runs()) == 1)
            signal.raise_signal(signal.SIGTERM)
            (tmp_path / "go").touch()
            assert await running is ExitCode.DONE
        assert site.runs() == ["ops 1", "ended"]
        assert ((await site.status()).cursor.seq, (await site.status()).leased) == (1, 0)
        (tmp_path / "go").unlink()
        async with site.on(script=script) as running:
            await until(lambda: len(site.runs()) == 3)
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
            assert await end(running, signal.SIGINT) is ExitCode.INTERRUPTED
        assert site.runs()[2:] == ["ops 2"]
        status = await site.status()
        assert (status.cursor.seq, status.leased, status.waiting) == (1, 0, 1)

    with_site(test, tmp_path)


def test_several_workers_share_the_messages(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        await site.publish(*(f"m{n}" for n in range(12)))
        script = "echo begun >> begun; while [ $(wc -l < begun) -lt 3 ]; do sleep 0.01; done"
        async with site.on(script=script, n_workers=3):
            await until(lambda: len(site.runs()) == 12)
        assert sorted(site.runs()) == sorted(f"ops {n + 1}" for n in range(12))
        assert (await site.status()).ordered is False

    with_site(test, tmp_path)


def test_without_a_name_no_place_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(site: Site) -> None:
        await site.publish("before")
        options: dict[str, Any] = {"consumer": None, "after": "end", "retries": 1}
        async with site.on(script="test $CHATKIT_SEQ != 2", **options):
            await until(lambda: site.hub.counts["subscriptions"])
            await site.publish("fails", "three")
            await site.publish("👍", of=1, act=Act.REACT)
            await site.publish("five")
            await until(lambda: len(site.runs()) == 4)
        assert site.runs() == ["ops 2", "ops 2", "ops 3", "ops 5"]
        assert await site.hub.consumers.statuses() == []

    with_site(test, tmp_path)
    failed = "chatkit: ops #2 of ann failed: exit code 1"
    assert capsys.readouterr().err.splitlines() == [failed, failed, "chatkit: ops #2 of ann is given up after 2 tries"]


def test_a_message_that_is_given_up_does_not_delay_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatkit.cli.on_source.RETRY_S", 60.0)

    async def test(site: Site) -> None:
        options: dict[str, Any] = {"consumer": None, "after": "end", "retries": 0}
        async with site.on(script="test $CHATKIT_SEQ != 1", **options):
            await until(lambda: site.hub.counts["subscriptions"])
            await site.publish("fails", "two")
            await until(lambda: len(site.runs()) == 2)

    with_site(test, tmp_path)


@pytest.mark.parametrize("consumer", ["c", None])
def test_a_pattern_includes_rooms_that_appear_later_from_their_start(tmp_path: Path, consumer: str | None) -> None:
    async def test(site: Site) -> None:
        await site.publish("old", room="ops-a")
        await site.publish("other", room="dev")
        async with site.on("ops*", consumer=consumer, after="end"):
            if consumer:
                await eventually(lambda: site.hub.consumers.statuses("ops-a"))
            else:
                await until(lambda: site.hub.counts["subscriptions"])
            await site.publish("new", room="ops-b")
            await site.publish("letter", room="ops-a.failed")
            await until(site.runs)
            await site.publish("later", room="ops-a")
            await until(lambda: len(site.runs()) == 2)
        assert site.runs() == ["ops-b 1", "ops-a 2"]

    with_site(test, tmp_path)


def test_a_gap_is_reported_and_is_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(site: Site) -> None:
        await site.hub.consumers.put("ops", "c", owner="bot", after="start")
        await site.publish("one", "two", "three")
        await site.hub.trim("ops", keep=1)
        async with site.on() as running:
            await until(site.runs)
            assert await end(running) is ExitCode.MESSAGES_MISSING
        assert site.runs() == ["ops 3"]

    with_site(test, tmp_path)
    assert capsys.readouterr().err == "chatkit: ops: messages 1 to 2 are missing here: no longer stored\n"


def test_runs_are_printed_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(site: Site) -> None:
        await site.publish("one", "two", "three")
        script = "case $CHATKIT_SEQ in 1) exit 0;; 2) exit 4;; 3) kill -KILL $$;; esac"
        async with site.on(script=script, report=OnReport(json=True), retries=0):
            await until(lambda: len(site.runs()) == 3)

    with_site(test, tmp_path)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.pop("duration_s") >= 0 for row in rows] == [True] * 3
    base = {"room": "ops", "sender": "ann"}
    assert rows == [
        {**base, "seq": 1, "status": 0},
        {**base, "seq": 2, "status": 4, "reason": "exit code 4"},
        {**base, "seq": 3, "signal": "SIGKILL", "reason": "ended by SIGKILL"},
    ]


def test_an_error_of_a_room_ends_the_command_and_of_a_found_room_leaves_it_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    async def test(site: Site) -> None:
        await site.publish("one", room="dev")

        def collected() -> str:
            printed.append(capsys.readouterr().err)
            return "".join(printed)

        with pytest.raises(Forbidden) as error:
            async with site.on("dev") as running:
                await running
        async with site.on("de*"):
            await until(lambda: "dev is left out" in collected())
        assert str(error.value) in "".join(printed)

    with_site(test, tmp_path, host="localhost", secret="not-used-here", open_grants=(grant("*", "read"),))
