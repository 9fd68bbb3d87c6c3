"""A Slack export: a zip file with lists of the channels and users, and a folder for each channel with a file a day.

Nothing is written to disk, and what is read is bounded: by the sizes that the zip file declares, and by the sizes that
it really has.
"""

import itertools
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from chatkit.cli.importers.foreign_message import ForeignMessage, room_from, sender_from
from chatkit.cli.importers.log_loader import ImportFailed
from chatkit.cli.importers.slack_text import plain_attachment, readable
from chatkit.core.text import normalize
from chatkit.errors import BadRequest

MAX_MEMBER_BYTES: Final = 32 * 2**20  # the messages of a day: some 20,000; twenty times that is needed to parse them
MAX_RATIO: Final = 100  # of the content to the zip file: JSON is compressed to a tenth
MIN_TOTAL_BYTES: Final = 2**26  # that a small zip file may contain
MAX_DATA_BYTES: Final = 60_000  # of a message: below the default limit of a server
MAX_OMITTED_BYTES: Final = 2_000  # of the names of the fields that have no place in it

_DAY: Final = re.compile(r"([^/]+)/(\d{4}-\d\d-\d\d)\.json")
_TS: Final = re.compile(r"(\d{1,11})\.(\d{1,6})")
# What the text, the sender, the key and the time say already; `blocks` is the text again, with its layout.
_REPEATED: Final = frozenset({"type", "ts", "user_profile", "blocks"})
_LISTS: Final = {"groups.json": "private channels", "mpims.json": "group conversations", "dms.json": "conversations"}

Listed = TypeVar("Listed", "SlackChannel", "SlackUser")


class SlackChannel(msgspec.Struct, frozen=True):
    """A channel: its id, its name, its folder in the zip file, and its members' ids."""

    id: str
    name: str = ""
    members: list[str] = []

    @property
    def folder(self) -> str:
        """The folder of the channel's messages: its name, or for conversations of two persons the id."""
        return self.name or self.id


class SlackUser(msgspec.Struct, frozen=True):
    """An entry of the list of users, with the fields that give a name."""

    id: str
    name: str = ""
    profile: dict[str, Any] = {}

    @property
    def display_name(self) -> str:
        """The name that Slack shows."""
        names = (self.profile.get("display_name"), self.profile.get("real_name"), self.name)
        return next((name for name in names if isinstance(name, str) and name), self.id)


class SlackExport:
    """The zip file at a path. Enter it with `with`.

    `only` are the names, in NFC, of the channels that are wanted, or empty for all. Private channels and conversations
    are read if `private` is true.
    """

    def __init__(self, path: str, *, only: Collection[str] = (), private: bool = False) -> None:
        self._path = path
        self._only = only
        self._private = private
        self._n_read = 0
        self._n_declared = 1
        self._users: Mapping[str, str] = {}
        self._channel_names: Mapping[str, str] = {}
        self._days: dict[str, list[str]] = {}
        self._zip: zipfile.ZipFile

    def __enter__(self) -> Self:
        if self._path == "-":
            raise BadRequest("a Slack export is a zip file, which cannot be read from a pipe: give its name")
        try:
            self._zip = zipfile.ZipFile(self._path)
        except (zipfile.BadZipFile, RuntimeError, ValueError) as error:  # RuntimeError: its format is not supported
            raise BadRequest(f"{self._path} is not a zip file: {error}") from error
        self._max_total = max(MAX_RATIO * Path(self._path).stat().st_size, MIN_TOTAL_BYTES)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._zip.close()

    @property
    def share(self) -> float:
        """The part of the channels that was read."""
        return self._n_read / self._n_declared

    def channels(self) -> tuple[list[tuple[str, SlackChannel]], list[str]]:
        """Return the channels with the room of each, and sentences about what is left out. Raise `BadRequest`."""
        chosen = self._list("channels.json", SlackChannel)
        left_out = []
        for name, what in _LISTS.items():
            found = self._list(name, SlackChannel)
            chosen += found if self._private else []
            if found and not self._private:
                left_out.append(f"{len(found):,} {what} are left out: --private imports them, too")
        users = self._list("users.json", SlackUser, "org_users.json")
        self._users = {user.id: sender_from(user.display_name) for user in users}
        self._channel_names = {channel.id: channel.name for channel in chosen if channel.name}
        if not chosen:
            raise BadRequest(f"{self._path} is not a Slack export: it has no channels.json with channels")
        wanted = [channel for channel in chosen if not self._only or normalize(channel.folder) in self._only]
        if missing := set(self._only) - {normalize(channel.folder) for channel in wanted}:
            raise BadRequest(f"the export has no channel {min(missing)!r}")
        self._find_days({channel.folder for channel in wanted})
        return [(self._room(channel), channel) for channel in wanted], left_out

    def _room(self, channel: SlackChannel) -> str:
        people = "-".join(sorted(self._users.get(member, member) for member in channel.members))
        return room_from(channel.name or f"dm-{people or channel.id}")

    def _find_days(self, folders: Collection[str]) -> None:
        for info in self._zip.infolist():
            match = _DAY.fullmatch(info.filename)
            if match is not None and match[1] in folders:
                self._days.setdefault(match[1], []).append(info.filename)
                self._n_declared += info.file_size

    def messages(self, channel: SlackChannel) -> Iterator[ForeignMessage]:
        """Iterate over the messages of a channel, in the order of their times. Raise `ImportFailed`."""
        for name in sorted(self._days.get(channel.folder, ())):
            found = _decode(name, self._read(name), list[dict[str, Any]])
            try:
                messages = [self._convert(message) for message in found]
            except BadRequest as error:
                raise ImportFailed(f"{name} in {self._path}: {error}") from error
            yield from sorted(messages, key=lambda message: (message.time_ms, message.key))

    def _convert(self, message: dict[str, Any]) -> ForeignMessage:
        ts = message.get("ts")
        match = _TS.fullmatch(ts) if isinstance(ts, str) else None
        if match is None:
            raise BadRequest(f"a message has no valid 'ts': {str(ts)[:40]!r}")
        time_ms = int(match[1]) * 1000 + int(match[2].ljust(6, "0")) // 1000
        body = self._body(message)
        data = {
            field: value
            for field, value in message.items()
            if field not in _REPEATED or (field == "blocks" and not body)
        }
        if data.get("text") == body:
            del data["text"]
        is_bot = "bot_id" in message or message.get("subtype") == "bot_message"
        return ForeignMessage(
            time_ms, self._sender(message), body, f"slack:{match[0]}", {"slack": _bounded(data)}, bot=is_bot
        )

    def _body(self, message: Mapping[str, Any]) -> str:
        changed = message.get("message")  # of an entry that says that another message was changed
        text = message.get("text") or (changed.get("text") if isinstance(changed, dict) else None)
        pieces = [text] if isinstance(text, str) and text else []
        pieces = pieces or [plain_attachment(each) for each in _objects(message.get("attachments"))]
        for file in _objects(message.get("files")):
            name, url = file.get("name") or file.get("title") or file.get("id"), file.get("url_private") or ""
            pieces.append(f"[file: {name}] {url}".rstrip())
        return "\n".join(readable(piece, self._users, self._channel_names) for piece in pieces if piece)

    def _sender(self, message: Mapping[str, Any]) -> str:
        user, profile, bot = message.get("user"), message.get("user_profile"), message.get("bot_profile")
        names = (
            self._users.get(user) if isinstance(user, str) else None,
            message.get("username"),
            profile.get("display_name") or profile.get("real_name") if isinstance(profile, dict) else None,
            bot.get("name") if isinstance(bot, dict) else None,
            user,
            message.get("bot_id"),
        )
        return sender_from(next((name for name in names if isinstance(name, str) and name), ""))

    def _list(self, name: str, kind: type[Listed], other: str | None = None) -> list[Listed]:
        names = set(self._zip.namelist())
        found = next((each for each in (name, other) if each in names), None)
        kinds = list[kind]  # type: ignore[valid-type]  # mypy knows no types that are made at run time
        return [] if found is None else list(_decode(found, self._read(found), kinds))

    def _read(self, name: str) -> bytes:
        """Return the content of a file in the zip file. Raise `ImportFailed` if it is too large, or damaged."""
        info = self._zip.getinfo(name)
        if info.file_size > MAX_MEMBER_BYTES:
            raise ImportFailed(f"{name} in {self._path} is larger than {MAX_MEMBER_BYTES // 2**20} MiB")
        try:
            with self._zip.open(info) as file:
                content = file.read(MAX_MEMBER_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise ImportFailed(f"{name} in {self._path} cannot be read: {error}") from error
        self._n_read += len(content)
        if len(content) > MAX_MEMBER_BYTES or self._n_read > self._max_total:
            raise ImportFailed(f"{self._path} contains more than {self._max_total // 2**20} MiB: it is not an export")
        return content


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _decode(name: str, content: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ImportFailed(f"{name} is not a file of a Slack export: {error}") from error


def _bounded(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data, without its largest fields if there is more than a message may have.

    `omitted` then lists the first of their names.
    """
    sizes = {field: len(msgspec.json.encode({field: value})) for field, value in data.items()}
    total = sum(sizes.values())
    if total <= MAX_DATA_BYTES:
        return data
    omitted: list[str] = []
    for field in sorted(sizes, key=lambda field: -sizes[field]):
        if total <= MAX_DATA_BYTES - MAX_OMITTED_BYTES:
            break
        total -= sizes[field]
        del data[field]
        omitted.append(field)
    return data | {"omitted": _shortened(omitted)}


def _shortened(names: list[str]) -> list[str]:
    """Return the first of the names that have `MAX_OMITTED_BYTES` together."""
    ends = itertools.accumulate(len(msgspec.json.encode(name)) + 1 for name in names)
    return [name for name, end in zip(names, ends, strict=True) if end <= MAX_OMITTED_BYTES]
