"""The output of `chatkit bench`: its progress on standard error, and its reports as tables or JSON."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatkit.bench import CampfireReport, CampfireResult, ChaosReport, LoadReport

FLAWS = (
    ("lost", "acknowledged, but not in the store"),
    ("untrue", "sent to a client, but missing or different in the store"),
    ("missing", "in the store, but not delivered to a reader"),
    ("repeated", "delivered twice to a reader"),
    ("out_of_order", "delivered after a later message"),
    ("misordered", "stored after a later message of the same sender"),
    ("stored_twice", "stored twice, under two numbers"),
    ("holes", "numbers that are missing in the log"),
    ("ghosts", "members listed after they left"),
    ("absent", "members present but not listed"),
    ("deaf", "readers that received nothing after a failure"),
    ("crashes", "servers, workers and receivers that ended unexpectedly"),
)

CAMPFIRE_FLAWS = (
    ("lost", "acknowledged, but not in the history"),
    ("changed", "acknowledged or stored with another body"),
    ("stored_twice", "stored twice"),
    ("unacknowledged", "stored, but not acknowledged"),
    ("missing", "not delivered to a reader"),
    ("repeated", "delivered twice to a reader"),
    ("out_of_order", "delivered after a later message"),
)
FULL_LOAD_CPU = 0.9  # of a core: from here on, the load may have set the pace, and not the server

CONSUMER_COUNTS = (
    *("workers", "messages", "handled", "redelivered", "given_up", "gaps"),
    *("lost", "acknowledged_twice", "misordered"),
)

RECEIVER_COUNTS = ("messages", "delivered", "redelivered", "refused", "gaps", "lost", "misordered", "forged")


@contextmanager
def show_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows progress. It does nothing if standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # No refresh thread, which would compete with the load for the processor.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)
            progress.refresh()

        yield show


def load_report_lines(report: "LoadReport", *, json: bool, is_own: bool) -> Sequence[str]:
    """Return the report of a load as lines."""
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
        ("gaps", f"{report.gaps:,}"),
        ("reconnects", f"{report.reconnects:,}"),
    ]
    width = max(len(value) for _, value in rows)
    lines = [_load_summary(report, is_own=is_own), ""]
    lines += [f"{name:<12}  {value:>{width}}" for name, value in rows]
    lines += [""] * any(notes := _load_notes(report))
    return lines + notes


def _load_summary(report: "LoadReport", *, is_own: bool) -> str:
    where = "a server that it started" if is_own else report.server
    how = ", with readers disconnected repeatedly" if report.resume else ""
    return (
        f"{_count(report.acknowledged, 'message')} of {report.size} bytes by {_count(report.pubs, 'sender')} in "
        f"{_count(report.rooms, 'room')} to {_count(report.subs, 'reader')}{how}: {report.seconds:.2f} s on {where}"
    )


def _load_notes(report: "LoadReport") -> list[str]:
    notes = []
    if report.rate_limit:
        rate = f"{report.rate_limit:g} messages/s"
        notes.append(f"The server takes {rate} of a sender: each waited {report.waited_s:.1f} s.")
    if report.missing:
        notes.append(f"The server reported to readers that {_count(report.missing, 'message')} are no longer stored.")
    if not report.complete:
        left = report.messages - report.acknowledged
        notes.append(
            f"The run did not finish: {_count(left, 'message')} not acknowledged, and the store was not compared."
        )
    return notes


def campfire_report_lines(report: "CampfireReport", *, json: bool, is_own: bool) -> Sequence[str]:
    """Return the report of a run with --like campfire as lines."""
    if json:
        from chatkit.wire.protocol import encode

        return [encode(report).decode()]
    where = "a server that the command started" if is_own else report.server
    n_acknowledged = sum(each.acknowledged for each in report.results)
    return [
        f"{_count(n_acknowledged, 'message')} of {report.size} bytes, each compared with the history, on {where}",
        "",
        *_campfire_table(report),
        "",
        *_count_lines(
            [(name, sum(getattr(each, name) for each in report.results), what) for name, what in CAMPFIRE_FLAWS]
        ),
        *_campfire_notes(report),
    ]


def _campfire_table(report: "CampfireReport") -> list[str]:
    head = ("", "posts/s", "deliveries/s", "p50", "p99", "max", "load's CPU")
    return _table(head, *map(_campfire_row, report.results))


def _campfire_row(result: "CampfireResult") -> tuple[str, ...]:
    what = {
        "posts": f"{_count(result.posters, 'client')} post: time to the answer",
        "room": f"{_count(result.posters, 'client')} post to {_count(result.subs, 'reader')}: time to the delivery",
        "restart": f"restart with {_count(result.subs, 'reader')}: time until all is received again",
    }[result.load]
    is_restart = result.load == "restart"
    rates = ("", "") if is_restart else (f"{result.posts_per_s:,}", f"{result.deliveries_per_s:,}" * bool(result.subs))
    times = (f"{each:,.{0 if is_restart else 1}f} ms" for each in (result.p50_ms, result.p99_ms, result.max_ms))
    return (what, *rates, *times, f"{result.load_cpu:.0%}")


def _campfire_notes(report: "CampfireReport") -> list[str]:
    notes = [
        f"The server was down for {result.down_s:.2f} s during its restart."
        for result in report.results
        if result.down_s is not None
    ]
    if any(result.load_cpu > FULL_LOAD_CPU for result in report.results):
        notes.append("Where the load's CPU is near 100 %, the load may have set the pace, and not the server.")
    if not report.complete:
        notes.append("The run did not finish: the loads that are left out were not measured.")
    return [""] * bool(notes) + notes


def chaos_report_lines(report: "ChaosReport", *, json: bool) -> Sequence[str]:
    """Return the report of a run with --chaos as lines."""
    if json:
        from chatkit.wire.protocol import encode

        return [encode(report).decode()]
    return [
        _chaos_summary(report),
        "",
        *_outage_lines(report),
        "",
        *_flaw_lines(report),
        *_consumer_lines(report),
        *_receiver_lines(report),
        *_chaos_notes(report),
    ]


def _chaos_summary(report: "ChaosReport") -> str:
    return (
        f"{_count(report.acknowledged, 'message')} by {_count(report.pubs, 'sender')} in "
        f"{_count(report.rooms, 'room')}, {_count(report.delivered, 'delivery', 'deliveries')} to "
        f"{_count(report.subs, 'reader')} through {_count(report.servers, 'server')} on {report.store}: "
        f"{report.seconds:.0f} s, {_count(report.moves, 'move')} from server to server, --seed {report.seed}"
    )


def _outage_lines(report: "ChaosReport") -> list[str]:
    head = ("", "times", "readers hit", "next message, median", "max")
    rows = [
        (each.kind, str(each.times), str(each.followers), _seconds(each.median_s), _seconds(each.max_s))
        for each in report.outages
    ]
    return _table(head, *rows)


def _consumer_lines(report: "ChaosReport") -> list[str]:
    if not report.consumers:
        return []
    head = ("consumer", *(name.replace("_", " ") for name in CONSUMER_COUNTS))
    rows = [(each.name, *(f"{getattr(each, name):,}" for name in CONSUMER_COUNTS)) for each in report.consumers]
    faults = f"Workers were killed {_times(report.worker_kills)} and paused {_times(report.worker_pauses)}."
    return ["", *_table(head, *rows), "", faults]


def _receiver_lines(report: "ChaosReport") -> list[str]:
    if not report.receivers:
        return []
    rows = [(each.name, *(f"{getattr(each, name):,}" for name in RECEIVER_COUNTS)) for each in report.receivers]
    return ["", *_table(("webhook", *RECEIVER_COUNTS), *rows)]


def _table(*rows: Sequence[str]) -> list[str]:
    """Return rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def _flaw_lines(report: "ChaosReport") -> list[str]:
    rows = [(name, getattr(report, name), what) for name, what in FLAWS]
    return _count_lines([*rows, ("gaps", report.gaps, "reported to readers, for messages that are no longer stored")])


def _count_lines(rows: Sequence[tuple[str, int, str]]) -> list[str]:
    """Return a line for each count with its name and meaning."""
    names = [name.replace("_", " ") for name, _, _ in rows]
    counts = [f"{number:,}" for _, number, _ in rows]
    left, right = max(map(len, names)), max(map(len, counts))
    meanings = (meaning for _, _, meaning in rows)
    return [
        f"{name:<{left}}  {number:>{right}}  {what}" for name, number, what in zip(names, counts, meanings, strict=True)
    ]


def _chaos_notes(report: "ChaosReport") -> list[str]:
    notes = [f"A server logged an unexpected error: {error}" for error in report.errors]
    if not report.complete:
        notes.append("The run did not finish, so some checks were not made: a 0 above may be incomplete.")
    return [""] * bool(notes) + notes


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def _times(number: int) -> str:
    return _count(number, "time")


def _count(number: int, what: str, many: str | None = None) -> str:
    """Return a number with the noun in the singular or plural."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"
