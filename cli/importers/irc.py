"""Logs of the IRC clients weechat and irssi, in their default formats. One file is the log of one channel.

weechat (`logger.file.time_format`; with a final Z, the time is UTC) separates time, prefix and text by tabs:

    2026-11-20 11:47:21<TAB>@ann<TAB>hello
    2026-11-20 11:47:30<TAB> *<TAB>ann waves
    2026-11-20 11:47:35<TAB>--><TAB>bob (~bob@example.org) has joined #ops

irssi (`log_timestamp`) writes the time of the day, and the date where the log is opened and where the day changes:

    --- Log opened Fri Nov 20 11:47:00 2026
    11:47 <@ann> hello
    11:47  * ann waves
    11:48 -!- bob [~bob@example.org] has joined #ops
    --- Day changed Sat Nov 21 2026

Messages, actions and notices are imported. Joins, parts and other events are not.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from chatkit.cli.importers.foreign_message import ForeignMessage, room_from, sender_from
from chatkit.cli.importers.lines import LineReader
from chatkit.cli.importers.log_loader import ImportCounts, ImportFailed
from chatkit.errors import BadRequest

Kind: TypeAlias = Literal["message", "action", "notice"]

_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
MIN_SET_BACK: Final = timedelta(minutes=30)  # summer time ends by 30 or 60 minutes; a smaller step is a correction
MAX_NICK_CHARS: Final = 1_000  # servers allow far less

_MODES: Final = "~&@%+ "  # before a nick: what its owner may do in the channel
_FORMATTING: Final = re.compile(r"\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9a-fA-F]{6})?|[\x02\x0f\x11\x16\x1d\x1e\x1f]")
_WEECHAT_NOTICE: Final = re.compile(r"Notice\(([^)]+)\)(?: -> [^:]+)?: (.*)", re.DOTALL)
_WEECHAT_EVENTS: Final = frozenset({"-->", "<--", "=!="})  # joins, parts, errors
_IRSSI_DAY: Final = re.compile(r"--- (?:Log opened|Day changed) \S+ (\S+) (\d{1,2}) (?:\d\d:\d\d:\d\d )?(\d{4})$")
_IRSSI_LINE: Final = re.compile(r"(?:(\d{4})-(\d\d)-(\d\d)[ T])?\[?(\d\d):(\d\d)(?::(\d\d))?\]? ?(.*)$", re.DOTALL)
_IRSSI_MESSAGE: Final = re.compile(r"<([^>\s][^>]*| [^>]+)> ?(.*)$", re.DOTALL)
_IRSSI_ACTION: Final = re.compile(r" ?\* (\S+)(?: (.*))?$", re.DOTALL)
_IRSSI_NOTICE: Final = re.compile(r"-(?!!-)([^-\s:]+)(?::[^-\s]+)?- (.*)$", re.DOTALL)


class IrcLine(msgspec.Struct, frozen=True):
    """What somebody wrote. `when` is the time as the log has it, in UTC if it has a zone."""

    when: datetime
    nick: str
    text: str
    kind: Kind = "message"


class WeechatParser:
    """Parses the lines of a weechat log."""

    name = "weechat"

    def parse(self, line: str) -> IrcLine | None:
        """Return what somebody wrote, or None for an event. Raise `BadRequest` for a line that is not of such a log."""
        stamp, _, rest = line.partition("\t")
        prefix, tab, text = rest.partition("\t")
        try:
            when = datetime.fromisoformat(stamp)
            when = when if when.tzinfo is None else when.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise BadRequest("the line does not begin with a date, a time and a tab") from error
        if not tab:
            raise BadRequest("the line has no tab after the nick")
        prefix = prefix.strip()
        if prefix == "*":
            nick, _, text = text.partition(" ")
            return IrcLine(when, nick, text, "action")
        if prefix == "--":
            notice = _WEECHAT_NOTICE.fullmatch(text)
            return IrcLine(when, notice[1], notice[2], "notice") if notice else None
        if not prefix or prefix in _WEECHAT_EVENTS:
            return None
        return IrcLine(when, prefix.lstrip(_MODES) or prefix, text)


class IrssiParser:
    """Parses the lines of an irssi log, and remembers the date."""

    name = "irssi"

    def __init__(self) -> None:
        self._date: date | None = None

    def parse(self, line: str) -> IrcLine | None:
        """Return what somebody wrote, or None for an event. Raise `BadRequest` for a line that is not of such a log."""
        if line.startswith("--- "):
            self._read_date(line)
            return None
        match = _IRSSI_LINE.match(line)
        if match is None:
            raise BadRequest("the line does not begin with a time")
        when = self._time_of(match)
        text = match[7]
        if found := _IRSSI_MESSAGE.match(text):
            return IrcLine(when, found[1].lstrip(_MODES), found[2])
        if found := _IRSSI_ACTION.match(text):
            return IrcLine(when, found[1], found[2] or "", "action")
        if found := _IRSSI_NOTICE.match(text):
            return IrcLine(when, found[1], found[2], "notice")
        return None

    def _read_date(self, line: str) -> None:
        if line.startswith("--- Log closed "):
            return
        match = _IRSSI_DAY.match(line)
        if match is None or match[1] not in _MONTHS:
            raise BadRequest("the date of the line is not in the default format of irssi, in English")
        try:
            self._date = date(int(match[3]), _MONTHS.index(match[1]) + 1, int(match[2]))
        except ValueError as error:
            raise BadRequest(f"the line has no valid date: {error}") from error

    def _time_of(self, match: re.Match[str]) -> datetime:
        try:
            day = date(int(match[1]), int(match[2]), int(match[3])) if match[1] else self._date
            clock = time(int(match[4]), int(match[5]), int(match[6] or 0))
        except ValueError as error:
            raise BadRequest(f"the line has no valid time: {error}") from error
        if day is None:
            raise BadRequest("the date is not known: there is no '--- Log opened' or '--- Day changed' before the line")
        return datetime.combine(day, clock)


class IrcLog:
    """The messages of a log. `zone` is that of its times; None is the zone of this machine.

    With `skip_bad`, lines that are not of such a log are counted and skipped.
    """

    def __init__(
        self,
        lines: LineReader,
        parser: WeechatParser | IrssiParser,
        counts: ImportCounts,
        *,
        zone: tzinfo | None,
        skip_bad: bool,
    ) -> None:
        self._lines = lines
        self._parser = parser
        self._counts = counts
        self._zone = zone
        self._skip_bad = skip_bad
        self._last: datetime | None = None  # as the log has it
        self._was_set_back = False  # the clock, on the day of `_last`
        self._keys: Counter[str] = Counter()  # of the day of `_last`

    def __iter__(self) -> Iterator[ForeignMessage]:
        """Iterate over the messages. Raise `ImportFailed` for a bad line."""
        for raw in self._lines:
            text = _decode(raw)
            if not text.strip():
                continue
            try:
                line = self._parser.parse(text)
            except BadRequest as error:
                if not self._skip_bad:
                    raise ImportFailed(f"{self._lines.place}: {error}: is it a log of {self._parser.name}?") from error
                self._counts.n_skipped += 1
                continue
            if line is not None:
                yield self._convert(line)

    def _convert(self, line: IrcLine) -> ForeignMessage:
        moment, is_second = self._moment(line.when)
        text = _FORMATTING.sub("", line.text)
        sender = sender_from(line.nick)
        data = {} if line.kind == "message" else {"kind": str(line.kind)}
        if sender != line.nick:
            data["nick"] = line.nick[:MAX_NICK_CHARS]
        body = f"/me {text}" if line.kind == "action" else text
        key = self._key(line, is_second=is_second)
        return ForeignMessage(round(moment.timestamp() * 1000), sender, body, key, {"irc": data} if data else None)

    def _moment(self, when: datetime) -> tuple[datetime, bool]:
        """Return the time in UTC, and whether it is the second time that the clock showed it.

        At the end of summer time, an hour comes twice: the second time, the clock has gone back within the log.
        """
        last = self._last
        if last is not None and when.date() != last.date():
            self._keys.clear()
            self._was_set_back = False
        if last is not None and last.tzinfo == when.tzinfo and last - when >= MIN_SET_BACK:
            self._was_set_back = True
        self._last = when
        try:
            first, second = (self._in_utc(when.replace(fold=fold)) for fold in (0, 1))
        except (OverflowError, OSError, ValueError) as error:
            raise ImportFailed(f"{self._lines.place}: the time {when} is out of range") from error
        is_second = self._was_set_back and second > first
        return second if is_second else first, is_second

    def _in_utc(self, when: datetime) -> datetime:
        if when.tzinfo is None and self._zone is not None:
            when = when.replace(tzinfo=self._zone)
        return when.astimezone(UTC)

    def _key(self, line: IrcLine, *, is_second: bool) -> str:
        """Return a key from the content: log files are split and joined, but lines stay the same."""
        digest = hashlib.sha256("\0".join((line.kind, line.nick, line.text)).encode()).hexdigest()[:16]
        moment = line.when.replace(tzinfo=None).isoformat()
        key = f"{self._parser.name}:{moment}{'+' if is_second else ''}:{digest}"
        self._keys[key] += 1
        return key if self._keys[key] == 1 else f"{key}:{self._keys[key]}"


PARSERS: Final[dict[str, Callable[[], WeechatParser | IrssiParser]]] = {
    "weechat": WeechatParser,
    "irssi": IrssiParser,
}


def room_of_file(path: str) -> str:
    """Return the room for a log by the name of its file, such as `irc.libera.#ops.weechatlog` or `#ops.log`.

    Raise `BadRequest` if the name has no channel.
    """
    name = Path(path).name
    name = re.sub(r"\.(?:weechatlog|log|txt)$", "", name)
    _, hash_, channel = name.partition("#")
    if path == "-" or not hash_:
        raise BadRequest(f"the file name {name!r} has no channel: name the room with --room")
    return room_from(channel)


def _decode(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")  # what clients that are not set to UTF-8 wrote
