"""The parts of the benchmark without I/O: checkers, the frame parser and the plans."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.bench import LoadPlan
from chatkit.bench.load.checker import Faults, ReaderChecker, compare
from chatkit.bench.load.frame_parser import ControlFrame, FrameParser, parse_frames
from chatkit.bench.load.latency import Latencies
from chatkit.core.model import Message
from chatkit.errors import BadRequest, ChatkitError
from chatkit.websocket.frames import CLOSE, TEXT, client_frame, text_frame
from chatkit.wire.protocol import message_event

NOT_FOUND_BY_ITSELF = ("litestar", "uvicorn", "typer", "rich", "chatkit.server", "sqlite3")


def checker_of(*runs: range) -> ReaderChecker:
    checker = ReaderChecker()
    for run in runs:
        checker.add(run)
    return checker


def test_a_reader_that_received_each_message_once_and_in_order_has_no_faults() -> None:
    checker = checker_of(range(1, 4), range(4, 5), range(5, 11))
    assert (checker.last, checker.delivered, checker.faults(10)) == (10, 10, Faults())


@pytest.mark.parametrize(
    ("runs", "faults"),
    [
        ((range(1, 5), range(6, 11)), Faults(lost=1)),
        ((range(2, 11),), Faults(lost=1)),
        ((range(1, 9),), Faults(lost=2)),
        ((), Faults(lost=10)),
        ((range(1, 6), range(5, 11)), Faults(repeated=1)),
        ((range(1, 11), range(1, 11)), Faults(repeated=10)),
        ((range(1, 5), range(6, 7), range(5, 6), range(7, 11)), Faults(out_of_order=1)),
        ((range(1, 4), range(7, 9), range(5, 6), range(5, 6), range(9, 10)), Faults(3, 1, 1)),
    ],
)
def test_missing_repeated_and_misordered_messages_are_counted(runs: tuple[range, ...], faults: Faults) -> None:
    assert checker_of(*runs).faults(10) == faults
    assert bool(faults)


def test_messages_after_the_last_delivery_are_not_lost_yet() -> None:
    assert checker_of(range(1, 4), range(5, 6)).faults() == Faults(lost=1)


def test_messages_in_a_reported_gap_are_not_lost() -> None:
    checker = checker_of(range(1, 4))
    checker.gap(5, 8)
    checker.add(range(8, 11))
    assert (checker.gaps, checker.n_in_gaps, checker.delivered, checker.faults(10)) == (1, 2, 6, Faults(lost=2))


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8)))
def test_any_order_is_counted_correctly(order: list[int], dropped: set[int]) -> None:
    came = [seq for seq in order if seq not in dropped]
    checker = checker_of(*(range(seq, seq + 1) for seq in came))
    steps_back = sum(seq < max(came[:at], default=0) for at, seq in enumerate(came))
    assert checker.faults(8) == Faults(len(dropped), 0, steps_back)
    assert checker.delivered == len(came)


ACKED = {0: 1, 1: 2, 2: 3, 3: 4}


@pytest.mark.parametrize(
    ("log", "faults"),
    [
        ([(1, 0), (2, 1), (3, 2), (4, 3)], Faults()),
        ([(1, 0), (2, 1), (3, 2)], Faults(lost=1)),
        ([(1, 0), (2, 1), (4, 3)], Faults(lost=1)),
        ([], Faults(lost=4)),
        ([(1, 0), (2, 1), (3, 2), (4, 3), (5, 2)], Faults(repeated=1)),
        ([(1, 0), (2, 3), (3, 2), (4, 1)], Faults(lost=2, out_of_order=1)),
        ([(1, 0), (2, 1), (3, 2), (4, 3), (5, None)], Faults()),
        ([(1, 0), (2, 1), (3, 2), (4, 3), (6, 4)], Faults(lost=1)),
    ],
)
def test_the_log_is_compared_with_what_was_acknowledged(log: list[tuple[int, int | None]], faults: Faults) -> None:
    assert compare(ACKED, log, senders=2) == faults


def test_trimmed_messages_are_not_lost() -> None:
    assert compare(ACKED, [(3, 2), (4, 3)], senders=1, first=3) == Faults()


def frame(seq: int, size: int = 40) -> bytes:
    return text_frame(message_event(Message("r", "e", seq, 0, "ann", f"@@{seq:019d}{'x' * size}", key="k")))


@given(st.data())
def test_a_stream_is_parsed_the_same_in_chunks_of_any_size(data: st.DataObject) -> None:
    seqs = data.draw(st.lists(st.integers(1, 9), max_size=12))
    other = text_frame(b'{"type":"presence","room":"r","count":2}')
    closing = b"\x88\x02\x03\xe8"
    stream = b"".join(frame(seq, size=data.draw(st.sampled_from([0, 40, 200, 70_000]))) for seq in seqs)
    stream += other + closing
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parser, rest = FrameParser(), b""
    found: list[int] = []
    stamps: list[int] = []
    controls: list[ControlFrame] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        piece = parser.parse(rest + stream[begin:end])
        rest = piece.rest
        stamps += piece.stamps
        for item in piece.items:
            if isinstance(item, ControlFrame):
                controls.append(item)
            else:
                found += item
    assert (found, stamps, rest) == (seqs, seqs, b"")
    assert controls == [ControlFrame(TEXT, other[2:]), ControlFrame(CLOSE, b"\x03\xe8")]


def test_consecutive_messages_are_one_range() -> None:
    piece = parse_frames(frame(3) + frame(4) + frame(5) + frame(5) + frame(7) + frame(8)[:-1])
    assert (piece.items, piece.oldest) == ((range(3, 6), range(5, 6), range(7, 8)), 3)


@pytest.mark.parametrize(
    "sent", [b"\x01\x00", b"\xc1\x00", client_frame(TEXT, b"hi")], ids=["fragment", "compressed", "masked"]
)
def test_unsupported_frames_raise_an_error(sent: bytes) -> None:
    with pytest.raises(ChatkitError, match="cannot read"):
        parse_frames(sent)


def test_latencies_are_an_even_sample() -> None:
    latencies = Latencies(max_samples=100)
    for moment in range(0, 10_000, 10):
        latencies.add(20_000, tuple(range(20_000 - moment - 10, 20_000 - moment)))
    p50_ms, p99_ms = latencies.percentiles_ms(0.5, 0.99)
    assert p50_ms * 1e6 == pytest.approx(5_000, rel=0.05)
    assert p99_ms * 1e6 == pytest.approx(9_900, rel=0.05)
    assert Latencies().percentiles_ms(0.5) == [0.0]


def test_a_plan_gives_every_message_a_sender_and_a_room() -> None:
    plan = LoadPlan(subs=5, pubs=3, rooms=2, messages=11)
    assert sorted(number for sender in range(3) for number in plan.numbers_of(sender)) == list(range(11))
    assert [plan.messages_in(room) for room in range(2)] == [6, 5]
    assert plan.deliveries == 6 * 3 + 5 * 2
    assert [plan.number(key) for key in (plan.key(7), "other-7", None)] == [7, None, None]


@pytest.mark.parametrize(
    "wrong", [{"subs": -1}, {"subs": 10**6}, {"pubs": 0}, {"rooms": 0}, {"messages": 0}, {"size": 23}, {"window": 0}]
)
def test_an_impossible_load_is_rejected(wrong: dict[str, int]) -> None:
    with pytest.raises(BadRequest, match=rf"--{next(iter(wrong))} is \d+ to \d+"):
        LoadPlan(**wrong)  # type: ignore[arg-type]  # every option that is a number


def test_importing_the_bench_imports_no_server_and_no_command() -> None:
    code = f"import chatkit.bench, sys; print(*[name for name in {NOT_FOUND_BY_ITSELF} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"\n"
