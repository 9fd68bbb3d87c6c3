"""How a load is shown: its progress on a terminal's stderr, and what it came to as a table or as JSON."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatkit.bench import LoadReport


@contextmanager
def shown_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what shows progress; it shows nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # Without a thread that refreshes: it would take its turns from the load.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)
            progress.refresh()

        yield show


def report_lines(report: "LoadReport", *, json: bool, is_own: bool) -> Sequence[str]:
    """Return what a load came to, in lines."""
    if json:
        from chatkit.wire.protocol import encode

        return [encode(report).decode()]
    rows = [
        ("messages/s", f"{report.messages_per_s:,}"),
        ("deliveries/s", f"{report.deliveries_per_s:,}"),
        ("latency p50", f"{report.p50_ms:,.2f} ms"),
        ("latency p99", f"{report.p99_ms:,.2f} ms"),
        ("latency max", f"{report.max_ms:,.2f} ms"),
        ("lost", f"{report.lost:,}"),
        ("repeated", f"{report.repeated:,}"),
        ("out of order", f"{report.out_of_order:,}"),
        ("gaps told", f"{report.gaps:,}"),
        ("reconnects", f"{report.reconnects:,}"),
    ]
    width = max(len(value) for _, value in rows)
    lines = [_what_was_done(report, is_own=is_own), ""]
    lines += [f"{name:<12}  {value:>{width}}" for name, value in rows]
    lines += [""] * any(notes := _notes(report))
    return lines + notes


def _what_was_done(report: "LoadReport", *, is_own: bool) -> str:
    where = "a server of its own" if is_own else report.server
    how = ", readers cut off all along" if report.resume else ""
    return (
        f"{count(report.acknowledged, 'message')} of {report.size} bytes by {count(report.pubs, 'sender')} in "
        f"{count(report.rooms, 'room')} to {count(report.subs, 'reader')}{how}: {report.seconds:.2f} s on {where}"
    )


def _notes(report: "LoadReport") -> list[str]:
    notes = []
    if report.rate_limit:
        rate = f"{report.rate_limit:g} messages/s"
        notes.append(f"The server takes {rate} of a sender: each waited {report.waited_s:.1f} s, as told.")
    if report.missing:
        notes.append(f"Readers were told that {count(report.missing, 'message')} could not be had any more.")
    if not report.complete:
        left = report.messages - report.acknowledged
        notes.append(f"It did not come to its end: {count(left, 'message')} not acknowledged, the store not compared.")
    return notes


def count(number: int, what: str, many: str | None = None) -> str:
    """Say how many there are of something."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"
