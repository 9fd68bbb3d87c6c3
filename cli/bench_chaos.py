"""`chatkit bench --chaos`: turns options into a plan and runs it, from the start of the store to its end."""

import sys
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, get_args

from chatkit.cli.output import print_lines, print_notice
from chatkit.cli.times import read_duration
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.bench import Chaos, ChaosPlan, ChaosReport

DEFAULT_STORE = "sqlite"


def read_plan(
    *,
    servers: int,
    store: str | None,
    backend: str | None,
    duration: str,
    rooms: int | None,
    subs: int | None,
    pubs: int,
    workers: int,
    receivers: int | None,
    rate: float,
    kill_store: bool,
    seed: int | None,
) -> "ChaosPlan":
    """Return the plan. None stands for the plan's default. Raise `BadRequest` or `BadBackendURL`."""
    from chatkit.backends import open_backend
    from chatkit.bench import ChaosPlan
    from chatkit.bench.chaos.plan import DEFAULT_RECEIVERS, DEFAULT_ROOMS, DEFAULT_SUBS, StoreName, any_seed

    if store is not None and backend is not None:
        raise BadRequest("give either --store or --backend, not both")
    if backend is not None:
        open_backend(backend)  # reports an invalid URL before any server is started
    name = next((each for each in get_args(StoreName) if each == (store or DEFAULT_STORE)), None)
    if name is None:
        raise BadRequest(f"--store must be one of {', '.join(get_args(StoreName))}, not {store!r}")
    return ChaosPlan(
        servers=servers,
        store=name,
        backend=backend,
        duration_s=read_duration(duration) / timedelta(seconds=1),
        pubs=pubs,
        workers=workers,
        receivers=(DEFAULT_RECEIVERS if workers else 0) if receivers is None else receivers,
        rate=rate,
        kill_store=kill_store,
        rooms=DEFAULT_ROOMS if rooms is None else rooms,
        subs=DEFAULT_SUBS if subs is None else subs,
        seed=any_seed() if seed is None else seed,
    )


def run_chaos(plan: "ChaosPlan", *, json: bool) -> int:
    """Run the plan on its store or a new one. Print the report and return the exit code."""
    from chatkit.bench import Chaos, Fleet, local_store
    from chatkit.cli.bench_report import chaos_report_lines, show_progress
    from chatkit.cli.bench_run import ignore_signals_afterwards, interrupt_on_signals, run_load

    interrupt_on_signals()
    with nullcontext() if plan.backend else local_store(plan.store) as store:
        backend = plan.backend or (store.url if store else "")
        with (
            Fleet(backend, plan.servers, max_connections=plan.max_connections) as fleet,
            ignore_signals_afterwards(),
            show_progress() as show,
        ):
            chaos = Chaos(plan, fleet, store, show, _print_event)
            report = run_load(chaos)
    print_lines(chaos_report_lines(report, json=json))
    sys.stdout.flush()
    return _status(chaos, report)


def _print_event(line: str) -> None:
    # Without a prefix: on a terminal, the lines are printed above the progress bar.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _status(chaos: "Chaos", report: "ChaosReport") -> int:
    if chaos.is_interrupted:
        return ExitCode.INTERRUPTED
    if chaos.error is not None:
        print_notice(str(chaos.error))
        return ExitCode.FAILED
    if not report.is_flawless:
        return ExitCode.FAILED
    return ExitCode.MESSAGES_MISSING if report.has_gaps else ExitCode.DONE
