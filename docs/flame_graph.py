"""Draw where a server's time goes under load, as a flame graph: `python docs/flame_graph.py > docs/flame_graph.svg`.

The process serves rooms on a temporary SQLite store, while `chatkit bench` loads it from another process. A timer
interrupts it after each millisecond of processor time and notes which functions run. The width of a box is the share of
the samples in which the function, or one that it called, was running. What a function does in C, such as to write to a
socket or to commit to SQLite, is its own time.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from xml.sax.saxutils import escape

from chatkit.cli.main import main as chatkit

SAMPLE_S = 0.001
LOOP = "uvloop: event loop and reading of sockets"
LOAD = ("--subs", "32", "--pubs", "32", "--window", "1", "--messages", "100000", "--size", "64")
WIDTH, ROW, MARGIN = 1_000, 18, 10
LEAST_SHARE = 0.004  # of a box that is drawn
CHARACTER = 6.2  # the width of one, in pixels
COLOURS = {  # by the package of the function
    "protocols": "#e0a458",
    "websocket": "#d98c5f",
    "session": "#c8a2c8",
    "wire": "#b9c46a",
    "core": "#7fb3d5",
    "backends": "#76c7a5",
}
OTHER_COLOUR = "#b8b8b8"


class Box(NamedTuple):
    """A function in one place of the call tree, from `left` to `right` in samples, `depth` calls deep."""

    name: str
    left: int
    right: int
    depth: int


def stack_of(frame: FrameType | None) -> tuple[str, ...]:
    """Return the functions of this project that are running, outermost first."""
    names: list[str] = []
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("chatkit.") and not module.startswith(("chatkit.cli", "chatkit.server.run")):
            names.append(f"{module.removeprefix('chatkit.')}: {frame.f_code.co_qualname}")
        frame = frame.f_back
    return tuple(reversed(names)) or (LOOP,)


def boxes(samples: Counter[tuple[str, ...]], depth: int = 0, left: int = 0) -> Iterator[Box]:
    """Iterate over the boxes of stacks that are equal above `depth`, the widest first."""
    parts: dict[str, Counter[tuple[str, ...]]] = {}
    for stack, count in samples.items():
        if len(stack) > depth:
            parts.setdefault(stack[depth], Counter())[stack] = count
    for name, part in sorted(parts.items(), key=lambda item: -item[1].total()):
        right = left + part.total()
        yield Box(name, left, right, depth)
        yield from boxes(part, depth + 1, left)
        left = right


def draw(samples: Counter[tuple[str, ...]]) -> Iterator[str]:
    """Iterate over the lines of the picture."""
    total = samples.total()
    drawn = [box for box in boxes(samples) if box.right - box.left >= LEAST_SHARE * total]
    scale = (WIDTH - 2 * MARGIN) / total
    height = (max(box.depth for box in drawn) + 1) * ROW + 3 * ROW
    size = f'viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="10"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    yield f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    x = MARGIN
    for package, colour in {**COLOURS, "other": OTHER_COLOUR}.items():
        yield f'<rect x="{x}" y="8" width="12" height="12" fill="{colour}"/><text x="{x + 16}" y="18">{package}</text>'
        x += 110
    for box in drawn:
        left, width = MARGIN + box.left * scale, (box.right - box.left) * scale
        y = 2 * ROW + box.depth * ROW
        colour = COLOURS.get(box.name.split(".")[0].split(":")[0], OTHER_COLOUR)
        text = box.name.split(": ")[1]
        label = text if len(text) * CHARACTER < width else text[: max(0, int(width / CHARACTER) - 1)]
        yield (
            f"<g><title>{escape(box.name)}: {(box.right - box.left) / total:.1%}</title>"
            f'<rect x="{left:.1f}" y="{y}" width="{max(0.5, width - 0.5):.1f}" height="{ROW - 1}" fill="{colour}"/>'
            f'<text x="{left + 3:.1f}" y="{y + 12}">{escape(label) if len(label) > 2 else ""}</text></g>'
        )
    yield "</svg>"


def free_port() -> int:
    """Return a port that no server uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load(port: int) -> None:
    """Load the server of this process while the timer runs, and stop the server."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    bench = [sys.executable, "-m", "chatkit.cli", "bench", "--server", f"http://127.0.0.1:{port}", *LOAD]
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)
    try:
        subprocess.run(bench, check=True, stdout=sys.stderr)  # noqa: S603 - this program itself
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """Serve, load, sample, and print the picture."""
    samples: Counter[tuple[str, ...]] = Counter()
    signal.signal(signal.SIGPROF, lambda _number, frame: samples.update([stack_of(frame)]))
    port = free_port()
    threading.Thread(target=load, args=(port,), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder, suppress(SystemExit):
        store = f"sqlite:///{Path(folder) / 'rooms.db'}"
        sys.argv[1:] = ["serve", "--port", str(port), "--backend", store, "--rate-limit", "0"]
        chatkit()
    sys.stdout.writelines(f"{line}\n" for line in draw(samples))


if __name__ == "__main__":
    main()
