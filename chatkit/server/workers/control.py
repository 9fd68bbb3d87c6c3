"""Messages between a supervisor and its worker, one a line. Does no I/O.

The supervisor sends the configuration, and the worker answers that it is ready, or why it failed. From then on they
exchange snapshots, when a worker is asked for the metrics (`snapshot_exchange.py`).

They are JSON rather than pickles, so that a worker started after an upgrade can read the message of an older
supervisor.
"""

from pathlib import Path
from typing import Any, Self, TypeAlias

import msgspec

from chatkit.errors import ChatkitError
from chatkit.server.settings import Settings
from chatkit.server.snapshot import Snapshot
from chatkit.wire.codes import error_of


class WorkerConfig(msgspec.Struct, frozen=True):
    """What a worker serves: settings, file descriptors, and its own cell in the connection counts and the limits.

    `limits_fd` is the table of the limits; None if the supervisor is of a version without one.
    """

    settings: Settings
    application: str | None
    listening_fd: int
    counts_fd: int
    n_cells: int
    cell: int
    limits_fd: int | None = None


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


class GatherSnapshots(msgspec.Struct, frozen=True, tag="gather-snapshots"):
    """The worker asks for the snapshots of all workers."""


class WorkerSnapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The worker's snapshot, for a `TakeSnapshot`."""

    snapshot: Snapshot


class TakeSnapshot(msgspec.Struct, frozen=True, tag="take-snapshot"):
    """The supervisor asks the worker for its snapshot."""


class AllSnapshots(msgspec.Struct, frozen=True, tag="snapshots"):
    """The snapshots of all workers by their numbers, for a `GatherSnapshots`."""

    snapshots: dict[int, Snapshot | None]


Answer: TypeAlias = WorkerReady | WorkerFailed
WorkerMessage: TypeAlias = GatherSnapshots | WorkerSnapshot
SupervisorMessage: TypeAlias = TakeSnapshot | AllSnapshots


def encode(message: WorkerConfig | Answer | WorkerMessage | SupervisorMessage) -> bytes:
    """Encode a message as one line."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"


def read_config(line: bytes) -> WorkerConfig:
    """Decode the supervisor's line."""
    return msgspec.json.decode(line, type=WorkerConfig, dec_hook=_path)


def read_answer(line: bytes) -> Answer:
    """Decode the worker's line."""
    answer: Answer = msgspec.json.decode(line, type=Answer)
    return answer


def read_worker_message(line: bytes) -> WorkerMessage:
    """Decode a later line of the worker. Raise `msgspec.MsgspecError` if another version wrote it."""
    message: WorkerMessage = msgspec.json.decode(line, type=WorkerMessage)
    return message


def read_supervisor_message(line: bytes) -> SupervisorMessage:
    """Decode a later line of the supervisor. Raise `msgspec.MsgspecError` if another version wrote it."""
    message: SupervisorMessage = msgspec.json.decode(line, type=SupervisorMessage)
    return message


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value
