"""A talking person at a terminal: types the commands of `chatkit join`, and reads the rows of the screen."""

import asyncio
import os
import re
import shlex
import signal
import sys
from collections import defaultdict
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
    """One entry as the terminal shows it. `name` lists all who reacted; the text of a redacted message is None."""

    act: Act | None
    number: int  # of the message, or of the message that is changed
    name: str
    text: str | None


class JoinTalker(Talker):
    """A person at `chatkit join`."""

    kind = "join"

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        self._visits: list[list[Shown]] = []
        await asyncio.to_thread(self._open)
        self._stack.callback(self._screen.tmux, "kill-server")
        await asyncio.to_thread(self._join)

    def _open(self) -> None:
        folder = self._place.folder
        env = {"CHATKIT_SERVER": self._place.url, "CHATKIT_NAME": self.name, "NO_COLOR": "1", "HOME": str(folder)}
        self._screen = Screen(folder, env, columns=COLUMNS, rows=ROWS, max_rows=MAX_ROWS, patience_s=PATIENCE_S)

    def _join(self) -> None:
        command = [sys.executable, "-m", "chatkit.cli", "join", ROOM, "--history", str(HISTORY)]
        while True:
            self._screen.type(f"clear; {shlex.join(command)}; echo status $?", "Enter")
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
            shown = [each._replace(text=None) if want.text is None else each for each, want in zip(visit, wanted)]  # noqa: B905 - the lengths are compared below
            different = [pair for pair in zip(shown, wanted, strict=False) if pair[0] != pair[1]]
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


def expected(raw: list[Message] | tuple[Message, ...], visit: list[Shown], *, to_end: bool = False) -> list[Shown]:
    """Return what a visit should show: as many entries of the log, around its first message."""
    at, first = next(((at, each) for at, each in enumerate(visit) if each.act is None), (0, None))
    if first is None:
        return []
    begin = next(index for index, entry in enumerate(raw) if entry.seq == first.number) - at
    reactions: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    return [_shown(entry, raw[begin].seq, reactions) for entry in raw[begin : None if to_end else begin + len(visit)]]


def _shown(entry: Message, first: int, reactions: defaultdict[tuple[int, str], set[str]]) -> Shown:
    target, name = entry.of or 0, entry.sender
    if entry.act is None:
        return Shown(None, entry.seq, name, None if entry.redacted else _plain(entry.body))
    if entry.act is Act.REACT:
        reactions[target, entry.body].add(name)
        name = ", ".join(sorted(reactions[target, entry.body])) if target >= first else name
    if entry.act is Act.UNREACT:
        reactions[target, entry.body].discard(name)
    return Shown(entry.act, target, name, None if entry.redacted else _plain(entry.body))


def _plain(text: str) -> str:
    """Return a text without variation selectors, which a terminal may leave out."""
    return text.replace("\ufe0f", "")
