"""`chatkit import`: store the messages of an export, a Slack export or an IRC log."""

import sys
import time
from collections.abc import Iterable
from datetime import tzinfo
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.options import BackendURL, Json, room_name, sender_name
from chatkit.cli.output import begin_json, print_notice
from chatkit.cli.progress import ProgressLine
from chatkit.core.text import normalize
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.core.backend import Backend

MAX_AUDITED = 100  # rooms that the entry of the audit names
FORMAT_NAMES = ("jsonl", "slack", "weechat", "irssi")

EPILOG = """
chatkit import rooms.jsonl --backend sqlite:///rooms.db

chatkit export --backend sqlite:///rooms.db | chatkit import - --backend redis://localhost

chatkit import company.zip --format slack --backend sqlite://

chatkit import '#ops.log' --format irssi --timezone Europe/Paris --backend sqlite://
"""


class ImportOptions(msgspec.Struct, frozen=True):
    """What to import, and how."""

    path: str
    form: str = "jsonl"
    only: tuple[str, ...] = ()
    room: str | None = None
    timezone: str | None = None
    private: bool = False
    skip_bad: bool = False

    @property
    def zone(self) -> tzinfo | None:
        """The zone of the times in a log, or None for the zone of this machine. Raise `BadRequest`."""
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        if self.timezone is None:
            return None
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadRequest(f"there is no time zone {self.timezone!r} (examples: UTC, Europe/Paris)") from error


class ImportSummary(msgspec.Struct, frozen=True):
    """What was imported. `known` messages were stored before, and `gone` ones were deleted from their rooms since."""

    rooms: list[str]
    messages: int
    known: int
    gone: int
    redacted: int
    skipped_lines: int
    unknown_fields: list[str]
    complete: bool
    seconds: float


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Read this file; - is standard input.", show_default=False)
    ],
    *,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="The format of the file: jsonl (of 'chatkit export'), slack (the zip file of a Slack export), or"
            " weechat or irssi (the log of an IRC channel).",
        ),
    ] = "jsonl",
    room: Annotated[
        str | None, typer.Option(metavar="ROOM", help="Store the one room or channel of the file in this room.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Import only this room or channel of the file. May be repeated."),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE", help="The time zone of an IRC log, such as Europe/Paris. Without it, that of this machine."
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Also import the private channels and conversations of a Slack export.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Skip the lines of an IRC log that cannot be read, and count them.")
    ] = False,
    json: Json = False,
    backend: BackendURL = None,
) -> None:
    """Store the messages of a file, with their times and senders.

    Messages that are stored already are not stored again, so an import that was interrupted continues when it is run
    again. A server on the same store delivers the messages at once.

    Messages of an export keep their numbers. Those of another program are appended in the order of their times, to
    rooms that have no newer message. What has no place in a message, such as the reactions of Slack, is kept in its
    data.

    The command writes to a store only, because a server does not accept the times and senders of other people's
    messages.
    """
    with report_errors():
        import asyncio

        if form not in FORMAT_NAMES:
            raise BadRequest(f"--format must be one of {', '.join(FORMAT_NAMES)}, not {form!r}")
        if backend is None:
            raise BadRequest(
                "import writes to a store, not to a server: give --backend, such as sqlite:///rooms.db, or sqlite://"
                " for the store that 'chatkit serve' uses by default"
            )
        names = tuple(normalize(name.removeprefix("#")) for name in only or ())
        options = ImportOptions(file, form, names, room and room_name(room), timezone, private, skip_bad)
        if json:
            begin_json()
        importer = Importer(options, ProgressLine())
        asyncio.run(importer.run(backend))
        sys.stdout.write(f"{importer.report(json=json)}\n")
        if not importer.is_complete:
            raise typer.Exit(ExitCode.MESSAGES_MISSING)


class Importer:
    """Imports one file into a store."""

    def __init__(self, options: ImportOptions, progress: ProgressLine) -> None:
        from chatkit.cli.importers.log_loader import ImportCounts

        self.is_complete = True
        self._options = options
        self._progress = progress
        self._counts: ImportCounts = ImportCounts()

    async def run(self, url: str) -> None:
        """Import the file. If that fails, print what is stored so far."""
        from chatkit.toolkit import open_backend

        backend = open_backend(url)
        if not backend.shared or not backend.keeps_history:
            raise BadRequest(f"{url.partition(':')[0]}: does not keep messages: import into another store")
        try:
            async with backend:
                try:
                    await self._import(backend)
                finally:
                    await self._record(backend)
        except BaseException:
            self._progress.clear()
            if self._counts.n_stored:
                print_notice(
                    f"stopped: {self._counts.n_stored:,} messages are stored; run the command again to continue"
                )
            raise
        self._progress.clear()
        self._print_notices()

    async def _import(self, backend: "Backend") -> None:
        match self._options.form:
            case "jsonl":
                await self._import_export(backend)
            case "slack":
                await self._import_slack(backend)
            case _:
                await self._import_log(backend)

    async def _record(self, backend: "Backend") -> None:
        """Append an entry to the audit about what was changed, if anything was."""
        from chatkit.core.access import EVERYTHING, Credential, Identity
        from chatkit.core.audit import Audit, AuditEvent

        counts = self._counts
        if not counts.n_stored and not counts.n_redacted:
            return
        by = Identity(sender_name(None), grants=EVERYTHING, credential=Credential.STORE)
        rooms = list(counts.rooms)
        target = rooms[0] if len(rooms) == 1 else f"{len(rooms)} rooms"
        details = {"rooms": rooms[:MAX_AUDITED], "messages": counts.n_stored, "redacted": counts.n_redacted}
        audit = Audit(backend, _now_ms)
        await audit.append(
            AuditEvent.MESSAGES_IMPORTED, by, f"imported {counts.n_stored} messages into {target}", target, details
        )
        await audit.close()

    async def _import_export(self, backend: "Backend") -> None:
        from chatkit.cli.importers.jsonl import ExportImporter
        from chatkit.cli.importers.lines import LineReader

        options = self._options
        with LineReader(options.path) as lines:
            importer = ExportImporter(
                backend, self._counts, by=sender_name(None), now_ms=_now_ms, only=options.only, room=options.room
            )
            await importer.run(lines, lambda room: self._show(room, lines.share))
            self.is_complete = importer.is_complete

    async def _import_slack(self, backend: "Backend") -> None:
        from chatkit.cli.importers.foreign_loader import ForeignLoader
        from chatkit.cli.importers.slack import SlackExport

        options = self._options
        with SlackExport(options.path, only=options.only, private=options.private) as export:
            channels, left_out = export.channels()
            for sentence in left_out:
                print_notice(sentence)
            rooms = (
                [options.room] if options.room is not None and len(channels) == 1 else [room for room, _ in channels]
            )
            if options.room is not None and len(channels) > 1:
                raise BadRequest(f"the export has {len(channels)} channels: choose the one for --room by --only")
            _check_distinct(rooms)
            loader = ForeignLoader(backend, self._counts, lambda room: self._show(room, export.share))
            for room, (_, channel) in zip(rooms, channels, strict=True):
                await loader.load(room, export.messages(channel))

    async def _import_log(self, backend: "Backend") -> None:
        from chatkit.cli.importers.foreign_loader import ForeignLoader
        from chatkit.cli.importers.irc import PARSERS, IrcLog, room_of_file
        from chatkit.cli.importers.lines import LineReader

        options = self._options
        room = options.room or room_of_file(options.path)
        with LineReader(options.path) as lines:
            parser = PARSERS[options.form]()
            log = IrcLog(lines, parser, self._counts, zone=options.zone, skip_bad=options.skip_bad)
            await ForeignLoader(backend, self._counts, lambda name: self._show(name, lines.share)).load(room, log)

    def _show(self, room: str, share: float | None) -> None:
        self._progress.show(f"importing {room}", self._counts.n_messages, share)

    def _print_notices(self) -> None:
        counts = self._counts
        if counts.unknown_fields:
            print_notice(
                f"this version of chatkit does not store the fields {', '.join(sorted(counts.unknown_fields))}"
            )
        if counts.n_gone:
            print_notice(f"{counts.n_gone:,} messages were not stored again: their rooms no longer keep them")
        if counts.n_redacted:
            print_notice(f"{counts.n_redacted:,} stored messages were redacted, as in the file")
        if counts.n_skipped:
            print_notice(f"{counts.n_skipped:,} lines could not be read and were skipped")
        if not self.is_complete:
            print_notice("the file is not complete: its export was interrupted, and messages are missing at its end")

    def report(self, *, json: bool) -> str:
        """Return what was imported, as a sentence or as JSON."""
        counts = self._counts
        if not json:
            known = f"; {counts.n_known:,} were stored already" if counts.n_known else ""
            n_rooms = len(counts.rooms)
            where = "1 room" if n_rooms == 1 else f"{n_rooms:,} rooms"
            return f"imported {counts.n_stored:,} messages into {where}{known}"
        summary = ImportSummary(
            list(counts.rooms),
            counts.n_stored,
            counts.n_known,
            counts.n_gone,
            counts.n_redacted,
            counts.n_skipped,
            sorted(counts.unknown_fields),
            self.is_complete,
            round(self._progress.elapsed_s, 3),
        )
        return msgspec.json.encode(summary).decode()


def _check_distinct(rooms: Iterable[str]) -> None:
    seen: set[str] = set()
    for room in rooms:
        if room in seen:
            raise BadRequest(
                f"two channels would become the room {room!r}: import them one by one, by --only and --room"
            )
        seen.add(room)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
