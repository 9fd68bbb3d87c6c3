"""What a chat shows beside messages: lines that wait, who is typing, and what calls a person back."""

import asyncio

import pytest
from chat_display import KeptScreen, context_of, entry
from harness import run

from chatkit.cli.chat.attention import BELL_S, Attention
from chatkit.cli.chat.input_area import with_hint, with_waiting
from chatkit.cli.chat.interface import PipeInterface
from chatkit.cli.chat.people import TYPING_S, People
from chatkit.cli.chat.recent_messages import MAX_MESSAGES, RecentMessages
from chatkit.cli.chat.room_display import RoomDisplay
from chatkit.cli.chat.style import Style
from chatkit.cli.line_layout import lay_out
from chatkit.client import Joined, Presence
from chatkit.core.message_state import Act
from chatkit.core.model import Member, Receipt
from chatkit.core.signals import Typing
from chatkit.errors import Forbidden, NotFound

PLAIN = Style(is_coloured=False)


def title(text: str) -> str:
    return f"\x1b]2;{text}\a"


def test_lines_wait_until_they_are_stored_and_shown() -> None:
    async def main() -> None:
        screen = KeptScreen(width=40)
        context = context_of(screen)
        display, sent = RoomDisplay("ops", context), context.publisher.sent
        answers: list[asyncio.Future[Receipt]] = [asyncio.get_running_loop().create_future() for _ in range(5)]
        for number, answer in enumerate(answers, 1):
            sent.add(answer, f"line {number}")
            answer.add_done_callback(context.publisher.on_answer)
        assert [row.strip() for row in screen.waiting] == ["ann: line 1", "ann: line 2", "and 3 more"]
        answers[0].set_result(Receipt(entry(1, "ann", "line 1")))
        await asyncio.sleep(0)
        assert screen.waiting[0].strip() == "ann: line 1"  # stored, but not delivered yet
        display.receive(entry(1, "ann", "line 1"))
        assert screen.waiting[0].strip() == "ann: line 2"
        display.receive(entry(2, "ann", "line 2"))  # delivered before its answer
        answers[1].set_result(Receipt(entry(2, "ann", "line 2")))
        answers[2].set_exception(Forbidden("you may not write here"))
        await asyncio.sleep(0)
        assert [row.strip() for row in screen.waiting] == ["ann: line 4", "ann: line 5"]
        assert screen.notes[-1].startswith("not stored: you may not write here")
        for answer in answers[3:]:
            answer.cancel()

    run(main())


def test_a_number_without_a_message_is_reported_without_a_hint_about_rooms() -> None:
    async def main() -> None:
        screen = KeptScreen()
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        answer.set_exception(NotFound("there is no message 999 in 'ops'"))
        context_of(screen).publisher.on_answer(answer)
        assert screen.notes == ["not stored: there is no message 999 in 'ops'"]

    run(main())


def test_a_change_that_changes_nothing_is_reported() -> None:
    async def main() -> None:
        screen = KeptScreen()
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        answer.set_result(Receipt(entry(1, "bob"), repeat=True))
        context_of(screen).publisher.on_answer(answer)
        assert screen.notes == ["nothing to change: that was so already"]

    run(main())


def test_news_of_others_call_a_person_and_mentions_more_so() -> None:
    async def main() -> None:
        screen = KeptScreen()
        display = RoomDisplay("ops", context_of(screen, "Ann"))
        display.receive(Joined("ops", "e", 1, 2, [Member("Ann", 0)], 1))
        display.receive(entry(1, "bob", "@ann", mentions=("ann",)))  # history
        display.receive(entry(2, "Ann", "mine"))
        assert screen.calls == []
        display.receive(entry(3, "Ann", "mine"))
        display.receive(entry(4, "bob", "hi"))
        display.receive(entry(5, "bob", "👍", 3, Act.REACT))
        display.receive(entry(6, "bob", "@ann: hi", mentions=("ann",)))
        assert screen.calls == [False, True]
        assert len(screen.shown) == 6
        display.receive(entry(6, "bob", "again"))
        assert len(screen.shown) == 6

    run(main())


def test_a_pipe_prints_messages_and_edits(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        display = RoomDisplay("ops", context_of(PipeInterface()))
        display.receive(entry(1, "ann", "one\ntwo"))
        display.receive(entry(2, "bob", "👍", 1, Act.REACT))
        display.receive(entry(3, "ann", "three", 1, Act.EDIT))
        display.receive(entry(4, "bob", "four", 1))

    run(main())
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":00 ")[2] or line for line in printed] == [
        "ann: one",
        "    two",
        "ann: * three",
        "bob: four",
    ]


def test_who_is_typing_is_shown_until_a_message_arrives() -> None:
    async def main() -> None:
        screen = KeptScreen()
        display = RoomDisplay("ops", context_of(screen))
        for name, hint in (
            ("ann", ""),
            ("bob", "bob is typing"),
            ("cat", "bob and cat are typing"),
            ("dan", "several people are typing"),
        ):
            display.receive(Typing("ops", name))
            assert screen.hint == hint
        display.receive(entry(1, "bob", "hi"))
        assert screen.hint == "cat and dan are typing"
        display.receive(Presence("ops", [], ["cat"], 1))
        assert screen.hint == "dan is typing"

    run(main())


def test_who_has_stopped_typing_is_forgotten() -> None:
    people = People("ann")
    people.typed("bob", 0)
    people.typed("cat", 3)
    assert people.typing(TYPING_S - 1) == ["bob", "cat"]
    assert people.typing(TYPING_S) == ["cat"]
    for number in range(1_000):
        people.typed(f"guest-{number}", 10)
        people.spoke(f"speaker-{number}")
    assert len(people.typing(10)) == 20
    assert len([*people.names()]) == 200


@pytest.mark.parametrize(
    ("text", "width", "row"),
    [
        ("hi", 40, "ops> hi" + " " * 19 + "bob is typing"),
        ("hi", 23, "ops> hi" + " " * 2 + "bob is typing"),
        ("hi", 22, "ops> hi"),
        ("a line of two rows", 16, "ops> a line of "),
    ],
)
def test_a_hint_stands_at_the_edge_if_there_is_space(text: str, width: int, row: str) -> None:
    layout = with_hint(lay_out("ops> ", text, len(text), width, 9), "bob is typing", width, PLAIN)
    drawn = ""
    for column, piece in layout.rows[0].pieces:
        drawn = drawn.ljust(column) + piece
    assert drawn == row
    assert sum(layout.rows[0].widths) == layout.rows[0].width < width


def test_waiting_rows_move_the_cursor_down() -> None:
    line = lay_out("ops> ", "日本", 2, 12, 9)
    layout = with_waiting(line, ["ann: 日本語 x", "\x1b[2Jann: y"], 12, PLAIN)
    assert [row.text for row in layout.rows] == ["ann: 日本語", "[2Jann: y", "ops> 日本"]
    assert (layout.cursor_row, layout.cursor_column) == (2, line.cursor_column)
    assert layout.rows_above_cursor(6) == 5  # two rows for each, and one for what the cursor is behind


def test_the_title_counts_until_a_key_is_pressed() -> None:
    attention = Attention("ops")
    assert attention.begin() == f"\x1b[22;0t\x1b[?1004h{title('ops')}"
    assert attention.arrived(0, is_mention=False) == title("(1) ops")
    assert attention.arrived(0, is_mention=True) == "\a" + title("(2) ops")
    assert attention.arrived(BELL_S / 2, is_mention=True) == title("(3) ops")
    assert attention.pressed() == title("ops")
    assert attention.pressed() == ""
    for _ in range(100):
        last = attention.arrived(0, is_mention=False)
    assert last == title("(99+) ops")
    assert attention.arrived(0, is_mention=False) == ""
    assert attention.end() == "\x1b[?1004l\x1b[23;0t"


def test_a_terminal_that_has_the_focus_is_not_counted() -> None:
    attention = Attention("ops")
    attention.arrived(0, is_mention=False)
    assert attention.focused(has_focus=True) == title("ops")
    assert attention.arrived(0, is_mention=True) == "\a"
    assert attention.focused(has_focus=False) == ""
    assert attention.arrived(0, is_mention=False) == title("(1) ops")
    console = Attention("ops", has_window=False)
    assert console.begin() + console.arrived(0, is_mention=True) + console.end() == "\a"


def test_recent_messages_are_bounded_and_belong_to_one_log() -> None:
    recent = RecentMessages()
    for seq in range(1, MAX_MESSAGES + 2):
        recent.add(entry(seq, "ann", "x" * 10_000))
    assert recent.get(1) is None
    assert (known := recent.get(2)) is not None
    assert len(known.body) == 200
    recent.add(entry(5_000, "bob", "forged", 2, Act.EDIT))
    assert recent.get(2) == known
    recent.add(entry(1, "bob", "new", epoch="f"))
    assert [message.body for message in recent.newest_first()] == ["new"]
