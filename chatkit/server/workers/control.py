"""Messages between a supervisor and its worker: the configuration, sent once, and the worker's answer. Does no I/O.

They are JSON rather than pickles, so that a worker started after an upgrade can read the message of an older
supervisor.
"""

from pathlib import Path
from typing import Any, Self, TypeAlias

import msgspec

from chatkit.errors import ChatkitError
from chatkit.server.settings import Settings
from chatkit.wire.codes import error_of


class WorkerConfig(msgspec.Struct, frozen=True):
    """What a worker serves: settings, file descriptors, and its own cell in the connection counts."""

    settings: Settings
    application: str | None
    listening_fd: int
    counts_fd: int
    n_cells: int
    cell: int


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """The worker accepts connections."""


class WorkerFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The worker cannot start, and exits."""

    code: str
    sentence: str

    @classmethod
    def of(cls, error: ChatkitError | OSError) -> Self:
        """Encode an error."""
        if isinstance(error, ChatkitError):
            return cls(error.code, str(error))
        return cls("error", f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")

    @property
    def error(self) -> ChatkitError:
        """The error, as far as its exit status and sentence are concerned."""
        return error_of(self.code, self.sentence)


Answer: TypeAlias = WorkerReady | WorkerFailed


def encode(message: WorkerConfig | Answer) -> bytes:
    """Encode a message as one line."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"


def read_config(line: bytes) -> WorkerConfig:
    """Decode the supervisor's line."""
    return msgspec.json.decode(line, type=WorkerConfig, dec_hook=_path)


def read_answer(line: bytes) -> Answer:
    """Decode the worker's line."""
    answer: Answer = msgspec.json.decode(line, type=Answer)
    return answer


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value
