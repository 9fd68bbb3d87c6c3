"""The access log: one line for each request and each WebSocket, with what it did; nothing at other levels."""

import json
import logging
from contextlib import suppress
from typing import Any

import pytest
from harness import until
from in_process import OWN, serve_in_process
from raw_client import Talk, open_socket, run
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chatkit.server.access_log import LOGGER, MAX_PATH_CHARS
from chatkit.server.log_config import JsonFormatter
from chatkit.server.log_limit import MAX_ACCESS_LINES, RepeatFilter

SERVERS = [OWN, "httptools, websockets-sansio"]  # with the direct path, and without
TOKEN = "eight-or-more"


class AccessLines:
    """The lines of the access log."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        self._log = log

    @property
    def records(self) -> list[logging.LogRecord]:
        return [record for record in self._log.records if record.name == LOGGER]

    @property
    def fields(self) -> list[dict[str, Any]]:
        return [vars(record)["fields"] for record in self.records]

    async def of(self, path: str) -> dict[str, Any]:
        """Wait for the line of a path, which ends like this."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [line for line in self.fields if line["path"].endswith(path)]
            return bool(found)

        await until(is_there, f"there is no line of {path}")
        assert len(found) == 1, found
        return found[0]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> AccessLines:
    caplog.set_level(logging.INFO, LOGGER)
    return AccessLines(caplog)


def test_a_request_has_a_line_with_its_status_its_bytes_and_its_duration(lines: AccessLines) -> None:
    async def test() -> None:
        async with serve_in_process(log_level="info") as server:
            answer = await server.call("POST", "/rooms/ops/messages?name=ann", "hello")
            line = await lines.of("name=ann")
            assert 0 < line.pop("duration_s") < 20
            assert line == {
                "client": "127.0.0.1",
                "method": "POST",
                "path": "/rooms/ops/messages?name=ann",
                "status": 201,
                "bytes_in": 5,
                "bytes_out": len(answer.body),
            }
            await server.call("GET", "/nothing", X_Forwarded_For="192.0.2.9, 198.51.100.7")
            line = await lines.of("/nothing")
            assert (line["status"], line["client"]) == (404, "198.51.100.7")
            shown = lines.records[-1].getMessage()
            assert shown.startswith("198.51.100.7 GET /nothing 404 in=0 out=")

    run(test())


@pytest.mark.parametrize("server", SERVERS)
def test_a_websocket_has_a_line_with_its_close_code_when_it_ends(server: str, lines: AccessLines) -> None:
    async def test() -> None:
        async with serve_in_process(server, log_level="info") as here:
            async with Talk.open(here, "/ws/ops?name=ann&history=0") as talk:
                await talk.ask(op="publish", body="x" * 1_000)
                await talk.until("message")
                await talk.socket.close(4_001)
            line = await lines.of("name=ann&history=0")
            assert (line["method"], line["status"], line["client"]) == ("WEBSOCKET", 4_001, "127.0.0.1")
            assert 1_000 < line["bytes_in"] < 1_200
            assert 1_000 < line["bytes_out"] < 3_000

    run(test())


@pytest.mark.parametrize("server", SERVERS)
def test_a_websocket_that_is_refused_has_a_line_with_the_reason(server: str, lines: AccessLines) -> None:
    async def test() -> None:
        async with serve_in_process(server, log_level="info", secret=TOKEN) as here:
            for path, code in (("/ws/ops", 4_401), (f"/ws/a%20b?token={TOKEN}", 1_008), ("/nothing", 4_404)):
                async with open_socket(here, path) as opened:
                    with suppress(ConnectionClosed):
                        await opened.recv()
                        await opened.recv()
                assert (await lines.of(path.replace(TOKEN, "…")))["status"] == code
            with pytest.raises(InvalidStatus):
                async with open_socket(here, "/ws/rebound", additional_headers={"Origin": "https://other.example"}):
                    pass
            assert (await lines.of("/ws/rebound"))["status"] == 403

    run(test())


def test_tokens_are_masked_and_long_paths_are_cut_off(lines: AccessLines) -> None:
    async def test() -> None:
        async with serve_in_process(log_level="info", secret=TOKEN) as server:
            await server.call("GET", f"/rooms?%74oken={TOKEN}&a=1")
            assert (await lines.of("a=1"))["path"] == "/rooms?%74oken=…&a=1"
            await server.call("GET", f"/rooms?x={'y' * 9_000}")
            assert len((await lines.of("y…"))["path"]) == MAX_PATH_CHARS + 1
            pairs = "&".join([f"token={'z' * 60}"] * 20)  # masked, they are short: the last one is cut off
            await server.call("GET", f"/rooms?b=2&{pairs}")
            assert "z" not in (await lines.of("&…"))["path"]

    run(test())
    text = JsonFormatter(with_pid=False, secrets=["sesame"])
    record = logging.LogRecord(LOGGER, logging.INFO, "", 0, "x", (), None)
    vars(record)["fields"] = {"path": "/a/sesame", "status": 200}
    line = json.loads(text.format(record))
    assert (line["logger"], line["path"], line["status"]) == (LOGGER, "/a/…", 200)


def test_at_other_levels_nothing_is_logged_and_nothing_is_in_between(lines: AccessLines) -> None:
    async def test() -> None:
        async with serve_in_process() as server:
            async with Talk.open(server, "/ws/ops") as talk:
                await talk.ask(op="ping")
            await server.call("GET", "/rooms")
            assert lines.records == []

    run(test())


def test_a_flood_of_requests_writes_a_bounded_number_of_lines() -> None:
    repeats = RepeatFilter(clock=lambda: 0.0)
    record = logging.LogRecord(LOGGER, logging.INFO, "", 0, "a line", (), None)
    assert sum(repeats.filter(record) for _ in range(2 * MAX_ACCESS_LINES)) == MAX_ACCESS_LINES
