"""`chatkit backup`: copy an SQLite store while servers use it."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.options import BackendURL, Json
from chatkit.cli.output import begin_json
from chatkit.cli.progress import ProgressLine
from chatkit.cli.sanitize import escaped
from chatkit.errors import BadRequest

DEFAULT_STORE = "sqlite://"  # that of `serve`

EPILOG = """
chatkit backup /backups/rooms.db

chatkit backup /backups/rooms.db --force --backend sqlite:////var/lib/chatkit/rooms.db
"""

OTHER_TOOLS = {
    "redis": "Redis copies its data by itself (redis-cli --rdb FILE, or its append-only file)",
    "postgres": "PostgreSQL has pg_dump",
    "memory": "the rooms of memory:// are in the server alone",
}


class BackupSummary(msgspec.Struct, frozen=True):
    """The copy that was made."""

    file: str
    bytes: int
    seconds: float


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Write the copy to this file.", show_default=False)],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    json: Json = False,
    backend: BackendURL = None,
) -> None:
    """Copy a store in an SQLite file, while servers use it.

    The copy holds the whole state of one moment, with tokens and bans, and is checked before it gets its name. Without
    --backend, the store that 'chatkit serve' uses by default is copied.

    To restore it, stop the servers, move the copy to the path of the store, and start them. Readers then get a gap,
    because the rooms begin a new epoch.
    """
    with report_errors():
        if json:
            begin_json()
        summary = make_backup(backend or DEFAULT_STORE, Path(file), overwrite=force)
        text = msgspec.json.encode(summary).decode() if json else f"copied {summary.bytes:,} bytes to {summary.file}"
        sys.stdout.write(f"{escaped(text)}\n")


def make_backup(url: str, to: Path, *, overwrite: bool) -> BackupSummary:
    """Copy the store at a URL. Raise `BadRequest` for a store that is not in an SQLite file."""
    from chatkit.backends.sqlite.backup import copy_store

    progress = ProgressLine()
    signals_before = exit_on_signals()
    try:
        n_bytes = copy_store(
            _path_of_store(url),
            to,
            overwrite=overwrite,
            on_progress=lambda share: progress.show_share("copying", share),
        )
    finally:
        progress.clear()
        for number, handler in signals_before.items():
            signal.signal(number, handler)
    return BackupSummary(str(to), n_bytes, round(progress.elapsed_s, 3))


def exit_on_signals() -> dict[signal.Signals, Any]:
    """Exit on SIGTERM and SIGHUP by an exception, so that the incomplete copy is removed. Return the handlers before.

    A signal that is ignored, as by `nohup`, stays ignored.
    """

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    return {number: signal.signal(number, leave) for number in numbers}


def _path_of_store(url: str) -> Path:
    from chatkit.backends.sqlite import SqliteBackend
    from chatkit.toolkit import open_backend

    backend = open_backend(url, make=False)
    if isinstance(backend, SqliteBackend):
        return backend.path
    scheme = url.partition(":")[0].lower()
    other = next((sentence for name, sentence in OTHER_TOOLS.items() if scheme.startswith(name)), "")
    raise BadRequest(f"backup copies stores in SQLite files: {other}; 'chatkit export' writes the rooms of any store")
