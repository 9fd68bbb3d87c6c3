"""How a run of chaos is shown: as a table, or as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatkit.cli.bench_report import count

if TYPE_CHECKING:
    from chatkit.bench import ChaosReport

FLAWS = (
    ("lost", "acknowledged, and the store has it not"),
    ("untrue", "told to anybody, and the store has it not, or another"),
    ("missing", "in the store, and not delivered to a reader"),
    ("repeated", "delivered twice to a reader"),
    ("out_of_order", "delivered after a later one"),
    ("misordered", "stored after a later one of its sender's"),
    ("stored_twice", "stored under two numbers"),
    ("holes", "numbers that the log leaves out"),
    ("ghosts", "members who stand although they are gone"),
    ("absent", "members who do not stand although they are there"),
    ("deaf", "readers who never heard again"),
    ("crashes", "servers that ended by themselves"),
)


def report_lines(report: "ChaosReport", *, json: bool) -> Sequence[str]:
    """Return what a run came to, in lines."""
    if json:
        from chatkit.wire.protocol import encode

        return [encode(report).decode()]
    return [
        _what_was_done(report),
        "",
        *_outage_lines(report),
        "",
        *_flaw_lines(report),
        *_notes(report),
    ]


def _what_was_done(report: "ChaosReport") -> str:
    return (
        f"{count(report.acknowledged, 'message')} by {count(report.pubs, 'sender')} in {count(report.rooms, 'room')}, "
        f"{count(report.delivered, 'delivery', 'deliveries')} to {count(report.subs, 'reader')} by way of "
        f"{count(report.servers, 'server')} on {report.store}: {report.seconds:.0f} s, {count(report.moves, 'move')} "
        f"from server to server, --seed {report.seed}"
    )


def _outage_lines(report: "ChaosReport") -> list[str]:
    head = ("", "times", "readers hit", "heard again, median", "max")
    rows = [
        (each.kind, str(each.times), str(each.followers), _seconds(each.median_s), _seconds(each.max_s))
        for each in report.outages
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in (head, *rows)
    ]


def _flaw_lines(report: "ChaosReport") -> list[str]:
    rows = [(name.replace("_", " "), f"{getattr(report, name):,}", what) for name, what in FLAWS]
    rows.append(("gaps told", f"{report.gaps:,}", "of messages that were not to be had"))
    width = max(len(row[1]) for row in rows)
    return [f"{name:<12}  {value:>{width}}  {what}" for name, value, what in rows]


def _notes(report: "ChaosReport") -> list[str]:
    notes = [f"A server's log has an error that nobody expected: {error}" for error in report.errors]
    if not report.complete:
        notes.append("It did not come to its end: what is 0 above was not, or not wholly, looked for.")
    return [""] * bool(notes) + notes


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"
