"""OnReport: what `chatkit on` prints of its runs: nothing, lines on standard error, or JSON on standard output."""

import sys

import msgspec

from chatkit.cli.formats import gap_sentence, wire_json
from chatkit.cli.on_command import MAX_REPLY_BYTES, CommandResult
from chatkit.cli.output import needs_reader, print_lines, print_notice
from chatkit.core.model import Gap, Message


class RunView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run as JSON. `reason` says why it has failed, and is left out if it has not."""

    room: str
    seq: int
    sender: str
    duration_s: float
    status: int | None = None
    signal: str | None = None
    reason: str | None = None


class OnReport:
    """Prints failures, and, if `is_verbose`, the other runs, too; with `json`, one object a run."""

    def __init__(self, *, json: bool = False, is_verbose: bool = False) -> None:
        self.has_gap = False
        self._json = json
        self._is_verbose = is_verbose

    def result(self, message: Message, result: CommandResult) -> None:
        """Print how a run has ended."""
        if self._json:
            view = RunView(
                message.room,
                message.seq,
                message.sender,
                result.duration_s,
                result.status,
                result.signal,
                result.reason,
            )
            with needs_reader():
                print_lines([wire_json(view)])
                sys.stdout.flush()
        where = _described(message)
        if result.reason is not None:
            print_notice(f"{where} failed: {result.reason.replace(chr(10), ' / ')}")
        elif self._is_verbose:
            print_notice(f"{where}: done in {result.duration_s:g} s")

    def given_up(self, message: Message, n_tries: int) -> None:
        """Print that a message is not tried again, and that no room says so."""
        print_notice(f"{_described(message)} is given up after {n_tries} {'try' if n_tries == 1 else 'tries'}")

    def cut(self, message: Message) -> None:
        """Print that the reply to a message is not the whole output of its command."""
        print_notice(f"the reply to {_described(message)} has the first {MAX_REPLY_BYTES:,} bytes of the output")

    def gap(self, room: str, gap: Gap) -> None:
        """Print that messages are missing."""
        self.has_gap = True
        print_notice(f"{room}: {gap_sentence(gap)}")

    def notice(self, sentence: str) -> None:
        """Print a sentence."""
        print_notice(sentence)


def _described(message: Message) -> str:
    return f"{message.room} #{message.seq} of {message.sender}"
