"""`chatkit bench --chaos`: it passes if nothing is lost, and finds each kind of error."""

import json
import signal
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from bench_process import Bench, processes_in, wait_until

from chatkit.bench import ChaosPlan
from chatkit.bench.chaos.checker import Findings, FollowerChecker, RoomChecker
from chatkit.bench.chaos.recovery import RecoveryTimes, RecoveryTracker
from chatkit.bench.chaos.schedule import Outage, OutageKind, schedule_outages
from chatkit.core.model import Gap, Message
from chatkit.errors import BadRequest

PLAN = ChaosPlan(rooms=1, pubs=2, run="run")


def message(seq: int, number: int | None = None) -> Message:
    number = seq - 1 if number is None else number
    sender = f"publisher-{PLAN.publisher_of(number)}"
    return Message("room", "epoch", seq, 1_000 + seq, sender, PLAN.body(number), PLAN.data(number), PLAN.key(number))


LOG = [message(seq) for seq in range(1, 11)]

Delivered = Sequence[Message | Gap]


def findings(*, acked: Iterable[Message] = LOG, delivered: Delivered = LOG, log: Iterable[Message] = LOG) -> Findings:
    """Return a checker's findings for one follower and ten messages."""
    checker = RoomChecker(PLAN)
    follower = FollowerChecker(checker)
    for each in acked:
        checker.acknowledged(each)
    for item in delivered:
        if isinstance(item, Gap):
            follower.on_gap(item)
        else:
            follower.on_message(item)
    for each in log:
        checker.stored(each)
    return checker.findings([follower])


def without(seq: int) -> list[Message]:
    return [each for each in LOG if each.seq != seq]


def changed(seq: int, **parts: object) -> list[Message]:
    return [msgspec.structs.replace(each, **parts) if each.seq == seq else each for each in LOG]


def test_a_correct_run_has_no_findings() -> None:
    assert findings() == Findings()
    assert not findings()


@pytest.mark.parametrize(
    ("delivered", "found"),
    [
        (without(4), Findings(missing=1)),
        (without(1), Findings(missing=1)),
        (without(10), Findings(missing=1)),
        ([], Findings(missing=10)),
        ([*LOG, LOG[9]], Findings(repeated=1)),
        ([*LOG[:3], LOG[2], *LOG[3:]], Findings(repeated=1)),
        ([*LOG[:3], LOG[4], LOG[3], *LOG[5:]], Findings(out_of_order=1)),
        ([*LOG[:3], Gap(3, 6, "trimmed"), *LOG[5:]], Findings(missing=2)),
        (changed(5, body="other words"), Findings(untrue=1)),
        (changed(5, data={"other": 1}), Findings(untrue=1)),
        (changed(5, sender="another"), Findings(untrue=1)),
        (changed(5, time_ms=1), Findings(untrue=1)),
        (changed(5, epoch="another"), Findings(untrue=1)),
        ([*LOG, message(11)], Findings(untrue=1)),
    ],
    ids=[
        *("one is missing", "the first is missing", "the last is missing", "all are missing"),
        *("the last came twice", "one came twice", "two were swapped", "a gap denies what there is"),
        *("other words", "other data", "another sender", "another time", "another life of the log", "an extra message"),
    ],
)
def test_incorrect_deliveries_are_found(delivered: Delivered, found: Findings) -> None:
    assert findings(delivered=delivered) == found
    assert bool(found)


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (LOG[:9], Findings(lost=1, untrue=1)),
        ([], Findings(lost=10, untrue=10)),
        (without(4), Findings(lost=1, untrue=1, holes=1)),
        (changed(4, body="other words"), Findings(lost=1, untrue=1)),
        ([*LOG, message(11, number=3)], Findings(stored_twice=1, missing=1)),
    ],
    ids=["it lost its end", "it was wiped", "it has a hole", "it has other words", "it has one key twice"],
)
def test_incorrect_logs_are_found(log: Sequence[Message], found: Findings) -> None:
    assert findings(log=log) == found


def test_a_publishers_messages_in_the_wrong_order_are_found() -> None:
    log = [message(1, number=2), message(2, number=0), message(3, number=1)]
    assert findings(acked=log, delivered=log, log=log) == Findings(misordered=1)


def test_an_acknowledged_message_that_is_not_stored_is_lost() -> None:
    assert findings(acked=[*LOG, message(11)]) == Findings(lost=1, untrue=1)
    assert findings(acked=[*LOG, message(3, number=77)]) == Findings(lost=1, untrue=1)


def test_of_two_contents_of_one_message_the_stored_one_is_true() -> None:
    false = changed(5, body="other words")
    assert findings(acked=[], delivered=[*false[:5], LOG[4], *LOG[5:]]) == Findings(untrue=1, repeated=1)


def test_a_correct_gap_is_no_finding() -> None:
    checker = RoomChecker(PLAN)
    follower = FollowerChecker(checker)
    for each in LOG:
        checker.acknowledged(each)
    follower.on_gap(Gap(0, 4, "trimmed"))
    checker.trimmed(4)
    for each in LOG[3:]:
        follower.on_message(each)
        checker.stored(each)
    assert checker.findings([follower]) == Findings()


def test_the_same_seed_makes_the_same_schedule_with_every_kind() -> None:
    def first(count: int, plan: ChaosPlan) -> list[Outage]:
        return list(islice(schedule_outages(plan), count))

    plan = ChaosPlan(seed=7, store="redis", kill_store=True)
    assert first(50, plan) == first(50, plan) != first(50, msgspec.structs.replace(plan, seed=8))
    assert {each.kind for each in first(len(OutageKind), plan)} == set(OutageKind)
    of_servers = {each.kind for each in first(50, ChaosPlan(seed=7))}
    assert of_servers == {
        OutageKind.SERVER_KILLED,
        OutageKind.SERVER_PAUSED,
        OutageKind.ROLLING_RESTART,
        OutageKind.ALL_KILLED,
    }


def test_with_other_servers_recovery_time_starts_with_the_outage() -> None:
    recovery = RecoveryTracker()
    recovery.count(OutageKind.SERVER_KILLED)
    pending = recovery.begin(OutageKind.SERVER_KILLED, {1: 5, 2: 9}, 100.0)
    recovery.delivered(1, 5, 100.1)  # what the server had sent before
    assert recovery.n_waiting == 2
    recovery.delivered(1, 6, 100.5)
    recovery.delivered(1, 6, 101.0)
    pending.end(102.0)
    recovery.delivered(2, 10, 103.0)
    assert recovery.n_waiting == 0
    assert recovery.summaries() == [RecoveryTimes("server killed", 1, 2, 1.75, 3.0)]


def test_after_an_outage_of_the_store_recovery_time_starts_at_its_end() -> None:
    recovery = RecoveryTracker()
    recovery.count(OutageKind.STORE_PAUSED)
    pending = recovery.begin(OutageKind.STORE_PAUSED, {1: 5}, None)
    recovery.delivered(1, 5, 100.0)  # had been on its way
    assert recovery.n_waiting == 1
    pending.end(101.0)
    recovery.delivered(1, 5, 101.25)
    assert recovery.summaries() == [RecoveryTimes("store paused", 1, 1, 0.25, 0.25)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ChaosPlan(servers=0),
        lambda: ChaosPlan(subs=0),
        lambda: ChaosPlan(workers=33),
        lambda: ChaosPlan(receivers=21),
        lambda: ChaosPlan(rate=0.0),
        lambda: ChaosPlan(duration_s=0.5),
        lambda: ChaosPlan(duration_s=80_000.0, rate=5_000.0),
        lambda: ChaosPlan(kill_store=True),
        lambda: ChaosPlan(kill_store=True, store="redis", backend="redis://127.0.0.1"),
    ],
)
def test_an_impossible_plan_is_rejected(make: Callable[[], ChaosPlan]) -> None:
    with pytest.raises(BadRequest):
        make()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


FLAWS = (
    *("lost", "untrue", "missing", "repeated", "out_of_order", "misordered", "stored_twice", "holes", "gaps"),
    *("ghosts", "absent", "deaf", "crashes"),
)
CONSUMER_FLAWS = ("lost", "acknowledged_twice", "misordered", "gaps")

RECEIVER_FLAWS = ("lost", "misordered", "forged", "gaps")

STORES = [
    ("sqlite", ("--workers", "2", "--receivers", "1")),
    ("redis", ("--workers", "0", "--kill-store")),
    ("redis-cluster", ("--workers", "0", "--kill-store")),
    ("postgresql", ("--workers", "0", "--kill-store")),
]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that every user may enter: PostgreSQL runs as another one where this is root."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize(("store", "options"), STORES, ids=[store for store, _ in STORES])
def test_nothing_is_lost_and_nothing_is_left_behind(open_folder: Path, store: str, options: tuple[str, ...]) -> None:
    bench = Bench(open_folder)
    small = ("--duration", "10s", "--rooms", "2", "--subs", "6", "--rate", "100")
    report = bench.json("--chaos", "--store", store, *small, *options)
    assert {name: report[name] for name in FLAWS} == dict.fromkeys(FLAWS, 0)
    assert report["errors"] == []
    assert report["complete"]
    assert report["acknowledged"] > 0
    assert report["stored"] >= report["acknowledged"]
    assert report["delivered"] == 3 * report["stored"]
    assert sum(outage["followers"] for outage in report["outages"]) > 0
    if store == "sqlite":
        assert [consumer["name"] for consumer in report["consumers"]] == ["shared", "ordered"]
        assert [receiver["name"] for receiver in report["receivers"]] == ["receiver-0"]
    for consumer in report["consumers"]:
        assert {name: consumer[name] for name in CONSUMER_FLAWS} == dict.fromkeys(CONSUMER_FLAWS, 0)
        assert consumer["handled"] == consumer["messages"] > 0
    for receiver in report["receivers"]:
        assert {name: receiver[name] for name in RECEIVER_FLAWS} == dict.fromkeys(RECEIVER_FLAWS, 0)
        assert receiver["delivered"] == receiver["messages"] > 0
    assert list(open_folder.iterdir()) == []
    assert processes_in(open_folder) == []


def test_the_report_is_a_table_and_each_outage_is_printed(bench: Bench, tmp_path: Path) -> None:
    backend = f"sqlite:///{tmp_path / 'mine.db'}"
    words = ("--chaos", "--duration", "3s", "--servers", "2", "--subs", "2", "--pubs", "1", "--workers", "0")
    printed = bench.run(*words, "--seed", "5", "--backend", backend)
    assert " through 2 servers on sqlite: " in printed
    assert " from server to server, --seed 5\n" in printed
    assert "next message, median" in printed
    assert next(schedule_outages(ChaosPlan(seed=5, servers=2))).kind in bench.stderr
    assert " started again\n" in bench.stderr or " continues\n" in bench.stderr
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()} == {"mine.db"}


def rows_of(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path)) as store:
            (count,) = store.execute("SELECT count(*) FROM message").fetchone()
    except sqlite3.OperationalError:  # nobody has made the tables yet
        return 0
    return int(count)


def stored_rows(folder: Path) -> int:
    return sum(map(rows_of, folder.glob("chatkit-bench-*/rooms.db")))


def delete_the_tenth(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as store, store:
        store.execute("DELETE FROM message WHERE seq = 10")


def test_one_lost_message_ends_with_exit_code_1(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    words = ("--chaos", "--duration", "5s", "--subs", "2", "--rooms", "1", "--workers", "0", "--json")
    with bench.start(*words, "--backend", f"sqlite:///{path}") as process:
        wait_until(lambda: rows_of(path) > 50 or process.poll() is not None)
        delete_the_tenth(path)
        report = json.loads(bench.end(process, status=1))
    assert (report["lost"], report["holes"]) == (1, 1)
    assert report["complete"]


def test_a_server_that_cannot_start_ends_with_exit_code_3(bench: Bench, tmp_path: Path) -> None:
    assert bench.run("--chaos", "--backend", f"sqlite:///{tmp_path / 'no' / 'folder' / 'rooms.db'}", status=3) == ""
    assert "chatkit: the server did not start: " in bench.stderr
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--servers", "2"), "--servers goes with --chaos only"),
        (("--kill-store",), "--kill-store goes with --chaos only"),
        (("--workers", "4"), "--workers goes with --chaos only"),
        (("--receivers", "4"), "--receivers goes with --chaos only"),
        (("--chaos", "--resume"), "--resume does not go with --chaos"),
        (("--chaos", "--server", "http://127.0.0.1:1"), "--server does not go with --chaos"),
        (("--chaos", "--kill-store"), "--kill-store needs a store that is a process"),
        (("--chaos", "--kill-store", "--backend", "redis://127.0.0.1"), "it cannot go with --backend"),
        (("--chaos", "--store", "redis", "--backend", "redis://127.0.0.1"), "give either --store or --backend"),
        (
            ("--chaos", "--store", "oracle"),
            "--store must be one of sqlite, redis, redis-cluster, postgresql, not 'oracle'",
        ),
        (("--chaos", "--duration", "soon"), "not a duration: 'soon'"),
        (("--chaos", "--backend", "memory://"), "memory:// cannot be shared"),
        (("--chaos", "--backend", "bogus://"), "there is no backend 'bogus'"),
        (("--chaos", "--backend", ""), "has no scheme"),
    ],
)
def test_contradicting_options_are_reported(bench: Bench, words: tuple[str, ...], why: str) -> None:
    assert bench.run(*words, status=2) == ""
    assert why in bench.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_prints_a_partial_report_and_stops_the_servers(
    bench: Bench, tmp_path: Path, number: signal.Signals
) -> None:
    few = ("--servers", "2", "--rooms", "1", "--subs", "2", "--workers", "1", "--receivers", "1")
    with bench.start("--chaos", "--duration", "10m", *few, "--json") as process:
        wait_until(lambda: stored_rows(tmp_path) > 200 or process.poll() is not None)
        process.send_signal(number)
        process.send_signal(number)  # an impatient one
        report = json.loads(bench.end(process, status=130))
    assert not report["complete"]
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []
