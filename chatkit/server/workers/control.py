"""What a supervisor and its worker say to each other: orders, once, and the answer. Knows no socket and no process.

They are JSON, not a pickle: a worker that is started after an upgrade still reads the orders of an older supervisor.
"""

from pathlib import Path
from typing import Any, Self, TypeAlias

import msgspec

from chatkit.errors import ChatkitError
from chatkit.server.settings import Settings
from chatkit.wire.codes import error_of


class WorkerConfig(msgspec.Struct, frozen=True):
    """What to serve, and with what: file descriptors, and the worker's own cell in the tally."""

    settings: Settings
    application: str | None
    listening_fd: int
    tally_fd: int
    n_cells: int
    cell: int


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """The worker takes connections."""


class WorkerFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The worker cannot start, and ends."""

    code: str
    sentence: str

    @classmethod
    def of(cls, error: ChatkitError | OSError) -> Self:
        """Say an error."""
        if isinstance(error, ChatkitError):
            return cls(error.code, str(error))
        return cls("error", f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")

    @property
    def error(self) -> ChatkitError:
        """The error, as far as its exit status and sentence go."""
        return error_of(self.code, self.sentence)


Answer: TypeAlias = WorkerReady | WorkerFailed


def encode(said: WorkerConfig | Answer) -> bytes:
    """Write a line."""
    return msgspec.json.encode(said, enc_hook=str) + b"\n"


def read_orders(line: bytes) -> WorkerConfig:
    """Read the supervisor's line."""
    return msgspec.json.decode(line, type=WorkerConfig, dec_hook=_path)


def read_answer(line: bytes) -> Answer:
    """Read the worker's line."""
    answer: Answer = msgspec.json.decode(line, type=Answer)
    return answer


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value
