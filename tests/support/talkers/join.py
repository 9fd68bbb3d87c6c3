"""A talking person at a terminal: types the commands of `chatkit join`, and reads the rows of the screen."""

import asyncio
import os
import re
import shlex
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from tmux_screen import Screen

from chatkit.core.message_state import Act
from chatkit.core.model import Message
from talkers.known import Action
from talkers.talker import END, ROOM, Outcome, Talker

COLUMNS, ROWS = 200, 50  # so wide that a row is never wrapped
HISTORY = 300
MAX_ROWS = 100_000  # kept by the terminal
PATIENCE_S = 300.0  # a line waits until its server has been started again

_ROW = re.compile(r"\d\d:\d\d +(\S+) (.*)")
_NUMBERED = re.compile(r"(.*)  #(\d+)", re.DOTALL)
_CHANGES = (
    (Act.EDIT, re.compile(r"(?P<name>\S+) edited #(?P<of>\d+): (?P<what>.*)")),
    (Act.UNREACT, re.compile(r"(?P<name>\S+) took (?P<what>\S+) back from #(?P<of>\d+)")),
    (Act.PIN, re.compile(r"(?P<name>\S+) pinned #(?P<of>\d+).*")),
    (Act.UNPIN, re.compile(r"(?P<name>\S+) unpinned #(?P<of>\d+).*")),
    (Act.REDACT, re.compile(r"(?P<name>\S+) redacted #(?P<of>\d+)")),
    (Act.REACT, re.compile(r"(?P<what>\S+) (?P<name>.+?) on #(?P<of>\d+).*")),
)


class Shown(NamedTuple):
    """One entry as the terminal shows it. `name` lists all who reacted.

    A name or a text is None if it depends on when it was shown, because the message is redacted now.
    """

    act: Act | None
    number: int  # of the message, or of the message that is changed
    name: str | None
    text: str | None


class JoinTalker(Talker):
    """A person at `chatkit join`."""

    kind = "join"

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        self._visits: list[list[Shown]] = []
        await asyncio.to_thread(self._open)
        self._stack.callback(self._screen.close)
        await asyncio.to_thread(self._join)

    def _open(self) -> None:
        folder = self._place.folder
        env = {"CHATKIT_SERVER": self._place.url, "CHATKIT_NAME": self.name, "NO_COLOR": "1", "HOME": str(folder)}
        self._screen = Screen(folder, env, columns=COLUMNS, rows=ROWS, max_rows=MAX_ROWS, patience_s=PATIENCE_S)

    def _join(self) -> None:
        command = [sys.executable, "-m", "chatkit.cli", "join", ROOM, "--history", str(HISTORY)]
        while True:
            self._screen.type("clear", "Enter")
            self._screen.wait_for(lambda: self._screen.rows() == ["$"])
            self._screen.type(f"{shlex.join(command)}; echo status $?", "Enter")
            self._screen.wait_for(lambda: self._is_at_prompt() or self._has_ended())
            if not self._has_ended():
                return
            self.n_unavailable += 1  # the server is being started again

    def _is_at_prompt(self) -> bool:
        rows = self._screen.rows()
        return any("here; type /help" in row for row in rows) or (rows[-1:] != [] and rows[-1].startswith(f"{ROOM}>"))

    def _has_ended(self) -> bool:
        rows = self._screen.rows()
        return rows[-1:] == ["$"] and any(row.startswith("status") for row in rows)

    async def _act(self, action: Action) -> None:
        await asyncio.to_thread(self._type, line_of(action))

    def _type(self, line: str) -> None:
        self._screen.type("-l", "--", line)
        self._screen.type("Enter")

    async def _go_and_return(self, tasks: asyncio.TaskGroup) -> None:
        """Leave with or without a farewell."""
        if self._chance.random() < 0.7:
            await asyncio.to_thread(self._leave)
        else:
            await asyncio.to_thread(self._kill)
        await self._sleep_away()
        await asyncio.to_thread(self._join)

    def _leave(self) -> None:
        self._type("/quit")
        self._screen.wait_for(self._has_ended)
        self._read()

    def _kill(self) -> None:
        self._read()
        os.kill(self._screen.running(), signal.SIGKILL)
        self._screen.tmux("respawn-pane", "-k", "env", "-u", "ENV", "sh")
        self._screen.wait_for(lambda: self._screen.rows()[-1:] == ["$"])

    def _read(self) -> None:
        """Keep what this visit has shown."""
        text = self._screen.all_rows()
        self.n_refused += text.count("-- not stored: ")
        self._visits.append(read_rows(text.splitlines()))
        self._screen.tmux("clear-history")

    async def _finish(self) -> None:
        done = f"{self.name} is done"
        await asyncio.to_thread(self._type, done)
        await asyncio.to_thread(self._screen.wait_for, lambda: f"{done}  #" in self._screen.all_rows())

    async def _settle(self, last: int) -> None:
        await asyncio.to_thread(self._screen.shows, f"{END}  #{last}")
        await asyncio.to_thread(self._leave)

    def check(self, outcome: Outcome) -> None:
        """Each visit shows consecutive entries, and the last one the end of the log."""
        for visit in self._visits:
            wanted = expected(outcome.raw, visit)
            different = [(each, want) for each, want in zip(visit, wanted, strict=False) if not _is_same(each, want)]
            assert not different, f"{self.name} shows something else: {different[:3]}"
            assert len(wanted) == len(visit), f"{self.name} shows too much"
        assert len(expected(outcome.raw, self._visits[-1], to_end=True)) == len(self._visits[-1]), f"{self.name} stops"


def line_of(action: Action) -> str:
    """Return what a person types."""
    match action.act:
        case None:
            return f"/reply {action.seq} {action.text}" if action.seq else action.text
        case Act.PIN | Act.UNPIN:  # not a command of `chatkit join`
            return f"instead of a pin of {action.seq}"
        case act:
            return f"/{act} {action.seq} {action.text}".strip()


def read_rows(rows: list[str]) -> list[Shown]:
    """Return the entries in the rows of a terminal. Other rows, such as notes, are left out."""
    shown: list[Shown] = []
    open_row: list[str] = []  # the sender and the lines of a message whose number has not come yet
    for row in rows:
        if begin := _ROW.fullmatch(row):
            label, text = begin.groups()
            open_row = [label.removesuffix(":"), text]
            if label == "*":
                shown.append(_change(text))
                open_row = []
        elif open_row and row.startswith(" " * 7):
            open_row.append(row.strip())
        if open_row and (numbered := _NUMBERED.fullmatch("\n".join(open_row[1:]))):
            text, number = numbered.groups()
            shown.append(Shown(None, int(number), open_row[0], text.rpartition("\n")[2]))
            open_row = []
    return shown


def _change(text: str) -> Shown:
    for act, pattern in _CHANGES:
        if match := pattern.fullmatch(text):
            parts = match.groupdict()
            return Shown(act, int(parts["of"]), parts["name"], _plain(parts.get("what", "")))
    raise AssertionError(f"not a change: {text!r}")


def expected(raw: Sequence[Message], visit: list[Shown], *, to_end: bool = False) -> list[Shown]:
    """Return what a visit should show: as many entries of the log, around its first message."""
    at, first = next(((at, each) for at, each in enumerate(visit) if each.act is None), (0, None))
    if first is None:
        return []
    begin = next(index for index, entry in enumerate(raw) if entry.seq == first.number) - at
    reactions = Reactions(first=raw[begin].seq, redacted={entry.seq for entry in raw if entry.redacted})
    return [reactions.shown(entry) for entry in raw[begin : None if to_end else begin + len(visit)]]


class Reactions:
    """Who has reacted to the messages from a first one on, as the terminal counts it."""

    def __init__(self, first: int, redacted: set[int]) -> None:
        self._first = first
        self._redacted = redacted
        self._names: defaultdict[tuple[int, str], set[str]] = defaultdict(set)

    def shown(self, entry: Message) -> Shown:
        """Return how an entry is shown after those before it."""
        target, name, text = entry.of or 0, entry.sender, None if entry.redacted else _plain(entry.body)
        if entry.act is None:
            return Shown(None, entry.seq, name, text)
        names = self._names[target, entry.body]
        if entry.act is Act.UNREACT:
            names.discard(name)
        if entry.act is not Act.REACT or target < self._first:
            return Shown(entry.act, target, name, text)
        names.add(name)
        return Shown(entry.act, target, None if target in self._redacted else ", ".join(sorted(names)), text)


def _is_same(shown: Shown, wanted: Shown) -> bool:
    return all(want is None or each == want for each, want in zip(shown[1:], wanted[1:], strict=True)) and (
        shown.act is wanted.act
    )


def _plain(text: str) -> str:
    """Return a text without variation selectors, which a terminal may leave out."""
    return text.replace("\ufe0f", "")
