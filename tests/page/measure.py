"""Measure the page in Chromium: the time to the first message, and the work for a frame of scrolling.

    PYTHONPATH=tests/support .venv/bin/python tests/page/measure.py

The first message is measured with an empty cache, at 9 Mbit/s and 20 ms, from the navigation. A frame is what the main
thread of the page does between two animation frames, in processor time: script, style, layout and recording of the
drawing, but not the drawing itself, which other threads do. The times depend on the machine, so no test asserts them.
"""

import sys
import tempfile
from bisect import bisect_right
from collections import defaultdict
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

from page_server import fill
from page_window import OpenWindow, Window, chromium, windows
from playwright.sync_api import CDPSession
from serving import ServerProcess, serve
from websockets.sync.client import connect

RUNS = 7
MESSAGES = 10_000
LINK = {"offline": False, "downloadThroughput": 9e6 / 8, "uploadThroughput": 4.5e6 / 8, "latency": 20}
TRACED = "devtools.timeline,toplevel"

NOTE_FIRST_MESSAGE = """
new MutationObserver((_, observer) => {
  if (!document.querySelector(".message")) return;
  observer.disconnect();
  window.firstMs = performance.now();
  requestAnimationFrame(() => setTimeout(() => { window.paintedMs = performance.now(); }));
}).observe(document, { subtree: true, childList: true });
"""

BODIES = [
    "the build of service {} is green",
    "**deployed** `service-{0}`, see https://example.com/{0}, @bob, and #dev",
    "- cache\n- queue {}\n- latency",
    "```python\ndef check(x: int) -> str:  # run {}\n    return 'ok' if x else 'failed'\n```",
    "> is it {}?\n\nyes, and I write more about it than fits in one line, so that it has to be wrapped at most widths",
]


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        chromium() as browser,
        serve(Path(folder) / "rooms.db", "--rate-limit", "0") as server,
        windows(browser, server.url) as open_window,
    ):
        print_first_message(server, open_window)
        print_scrolling(server, open_window)


def print_first_message(server: ServerProcess, open_window: OpenWindow) -> None:
    """Print when the first message is in the document, and when it is painted."""
    fill(server, "first", 60)
    times = [first_message(open_window("ann")) for _ in range(RUNS)]
    shown, painted = (median(each) for each in zip(*times, strict=True))
    report(
        f"first message, median of {RUNS} visits: in the document after {shown:.0f} ms, painted after {painted:.0f} ms"
    )


def report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def first_message(window: Window) -> tuple[float, float]:
    """Return the ms until the first message is in the document, and until it is painted."""
    devtools = window.context.new_cdp_session(window.page)
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", LINK)
    window.page.add_init_script(NOTE_FIRST_MESSAGE)
    window.open("/#first").until("() => window.paintedMs")
    shown, painted = window.value("[window.firstMs, window.paintedMs]")
    window.context.close()
    return shown, painted


def print_scrolling(server: ServerProcess, open_window: OpenWindow) -> None:
    """Print the work for a frame while the wheel turns to the beginning of a long room."""
    fill_mixed(server, "long", MESSAGES)
    window = open_window("ann", viewport={"width": 1440, "height": 900}).join("long")
    window.page.locator(".message").last.wait_for()
    window.page.mouse.move(900, 400)
    frames = sorted(scrolled_frames(window))
    p95 = frames[len(frames) * 95 // 100]
    kept = window.value("document.querySelectorAll('.message').length")
    report(
        f"a frame of scrolling through {MESSAGES} messages, of which {kept} are kept: "
        f"median {median(frames):.1f} ms, 95 % {p95:.1f} ms, longest {frames[-1]:.1f} ms"
    )


def fill_mixed(server: ServerProcess, room: str, count: int) -> None:
    """Publish messages of several kinds and senders."""
    for start in range(0, count, 20):
        with connect(f"{server.ws_url}/ws/{room}?name=sender{start // 20 % 7}&history=0") as socket:
            for number in range(start, start + 20):
                socket.send(BODIES[number % len(BODIES)].format(number))
            for _ in range(20):
                socket.recv(timeout=20)


def scrolled_frames(window: Window) -> list[float]:
    """Scroll to the beginning of the room; return the ms of processor time of each frame."""
    devtools = window.context.new_cdp_session(window.page)
    events: list[dict[str, Any]] = []
    devtools.on("Tracing.dataCollected", lambda part: events.extend(part["value"]))
    window.value("() => { const tick = () => requestAnimationFrame(tick); tick(); }")  # marks the frames in the trace
    devtools.send("Tracing.start", {"categories": TRACED, "transferMode": "ReportEvents"})
    while window.value("() => Number(document.querySelector('.message').dataset.seq)") > 1:
        for _ in range(10):
            window.page.mouse.wheel(0, -600)
    end_tracing(devtools, window)
    return frame_times(events)


def end_tracing(devtools: CDPSession, window: Window) -> None:
    ended = Event()
    devtools.on("Tracing.tracingComplete", lambda _: ended.set())
    devtools.send("Tracing.end")
    while not ended.is_set():
        window.page.wait_for_timeout(50)  # lets the events arrive


def frame_times(events: list[dict[str, Any]]) -> list[float]:
    """Return the processor time in ms of the thread with animation frames, from one frame to the next."""
    threads: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X" and "tdur" in event:
            threads[event["pid"], event["tid"]].append(event)
    main = max(threads.values(), key=lambda all_: sum(event["name"] == "FireAnimationFrame" for event in all_))
    main.sort(key=lambda event: (event["ts"], -event["dur"]))
    tasks = outermost(main)
    starts_of_tasks = [task["ts"] for task in tasks]
    ticks = [event["ts"] for event in main if event["name"] == "FireAnimationFrame"]
    frames = sorted({starts_of_tasks[bisect_right(starts_of_tasks, tick) - 1] for tick in ticks})
    times: dict[int, float] = defaultdict(float)
    for task in tasks:
        times[bisect_right(frames, task["ts"])] += task["tdur"] / 1_000
    return list(times.values())


def outermost(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events that are not part of another one, of events in the order of their starts."""
    found: list[dict[str, Any]] = []
    end = 0
    for event in events:
        if event["ts"] >= end:
            found.append(event)
            end = event["ts"] + event["dur"]
    return found


if __name__ == "__main__":
    main()
