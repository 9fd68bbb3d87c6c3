"""Server-sent events with clients of other projects: Node's `eventsource`, `httpx-sse`, and a browser."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource, connect_sse
from page_window import chromium
from playwright.sync_api import Page
from raw_client import eventually, publish
from serving import ServerProcess, serve

TREE = Path(__file__).parents[2]
# Reads a stream in the page, and keeps what comes, by type.
OPEN_IN_PAGE = """() => {
  window.found = [];
  window.source = new EventSource("rooms/ops/events?history=9");
  for (const type of ["message", "gap", "ping"])
    window.source.addEventListener(type, ({data, lastEventId}) => window.found.push({type, data, lastEventId}));
}"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve(tmp_path / "rooms.db") as started:
        yield started


def fill(server: ServerProcess, first: int, last: int) -> None:
    for number in range(first, last + 1):
        assert publish(server, "ops", f"m{number}").json["seq"] == number


def check(found: list[dict[str, Any]], last: int) -> None:
    """Check that each message came once and in order, and that every event has data and a cursor as its id."""
    assert all(event["data"] and ":" in event["lastEventId"] for event in found)
    messages = [json.loads(event["data"])["seq"] for event in found if event["type"] == "message"]
    assert messages == list(range(1, last + 1))
    assert {event["type"] for event in found} == {"message", "ping"}


@contextmanager
def node(url: str) -> Iterator[Iterator[dict[str, Any]]]:
    command = ["node", str(TREE / "tests/support/peers/eventsource.mjs"), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TREE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield map(json.loads, process.stdout)
        process.stdin.close()


def test_nodes_eventsource_resumes_after_a_killed_server(server: ServerProcess) -> None:
    fill(server, 1, 3)
    found: list[dict[str, Any]] = []
    with node(f"{server.url}/rooms/ops/events?history=9") as events:
        while len([event for event in found if event["type"] == "message"]) < 3:
            found.append(next(events))
        server.kill9()
        server.start()
        fill(server, 4, 5)
        while len([event for event in found if event["type"] == "message"]) < 5:
            found.append(next(events))
    check(found, 5)


def test_httpx_sse_reads_events_with_data_and_resumes_by_the_id_of_any_event(server: ServerProcess) -> None:
    fill(server, 1, 3)
    found: list[dict[str, Any]] = []
    with httpx.Client(base_url=server.url, timeout=20) as client:
        for last in (3, 5):
            headers = {"Last-Event-ID": found[-1]["lastEventId"]} if found else {}
            with connect_sse(client, "GET", "/rooms/ops/events", params={"history": 9}, headers=headers) as source:
                read_until(source, found, last)
            if last == 3:
                fill(server, 4, 5)
    check(found, 5)


def read_until(source: EventSource, found: list[dict[str, Any]], last: int) -> None:
    for event in source.iter_sse():
        found.append({"type": event.event, "data": event.data, "lastEventId": event.id})
        if event.event == "message" and event.json()["seq"] == last:
            return


def n_messages(page: Page) -> int:
    return [event["type"] for event in page.evaluate("window.found")].count("message")


def test_a_browsers_eventsource_resumes_after_a_killed_server(server: ServerProcess) -> None:
    fill(server, 1, 3)
    with chromium() as browser:
        page = browser.new_page()
        page.goto(server.url)
        page.evaluate(OPEN_IN_PAGE)
        eventually(lambda: n_messages(page) == 3)
        server.kill9()
        server.start()
        fill(server, 4, 5)
        eventually(lambda: n_messages(page) == 5)
        check(page.evaluate("window.found"), 5)
