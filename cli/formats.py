"""How messages are written: as text, JSON, CSV or Markdown. Safe for a terminal; nothing here reads or prints.

In CSV the fields are as they are stored, quoted where need be, as it is for programs; on a terminal they are made
harmless like the rest.
"""

import csv
import io
import re
from collections.abc import Callable
from typing import Final

import msgspec

from chatkit.cli.sanitize import escaped, one_line, visible
from chatkit.cli.times import local_time
from chatkit.core.model import Gap, GapReason, Message
from chatkit.wire.protocol import WireGap, WireMessage, encode, message_json

INDENT = "    "  # of a body's further lines: a line that begins with a time is a message, whatever a body says
CSV_COLUMNS = ("room", "seq", "time", "sender", "body", "data", "key", "redacted")

_WHY: Final[dict[GapReason, str]] = {
    "trimmed": "no longer kept",
    "epoch": "from before the room's log began anew",
    "no-history": "not kept by this store",
}
# What Markdown could take for its own: anywhere, and at the beginning of a line.
_MARKS = re.compile(r"([\\`*_\[\]<>&#~|!$])")
_LINE_MARKS = re.compile(r"^(\s*)([-+=]|\d{1,9}(?=[.)]))", re.MULTILINE)


def text_line(message: Message, *, time: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Write a message for people, in lines without the last line feed."""
    when = local_time(message.time_ms).strftime(time)
    return f"{when} {one_line(message.sender)}: {body_lines(message)}"


def body_lines(message: Message) -> str:
    """Write what a message says, its further lines indented, its data in a line of its own."""
    if message.redacted:
        return "(redacted)"
    lines = visible(message.body).split("\n")
    if message.data is not None:
        lines.append(escaped(msgspec.json.encode(message.data).decode()))
    return f"\n{INDENT}".join(lines)


def gap_sentence(gap: Gap) -> str:
    """Say what is missing."""
    count = gap.before - gap.after - 1
    if gap.reason == "epoch" or count < 1:
        return f"messages are missing here: {_WHY[gap.reason]}"
    which = f"message {gap.after + 1} is" if count == 1 else f"messages {gap.after + 1} to {gap.before - 1} are"
    return f"{which} missing here: {_WHY[gap.reason]}"


def json_line(item: Message | Gap) -> str:
    """Write a message, or the gap before it, as one JSON object."""
    raw = message_json(item) if isinstance(item, Message) else encode(WireGap(item.after, item.before, item.reason))
    return escaped(raw.decode())


def wire_json_line(message: WireMessage) -> str:
    """Write a message that comes from a server as it came."""
    return escaped(encode(message).decode())


def csv_header() -> str:
    """Write the names of the columns."""
    return ",".join(CSV_COLUMNS)


def csv_line(message: Message) -> str:
    """Write a message as a row (RFC 4180) without the last line feed."""
    data = "" if message.data is None else msgspec.json.encode(message.data).decode()
    row = (message.room, message.seq, message.time, message.sender, message.body, data, message.key or "")
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow((*row, "true" if message.redacted else ""))
    return written.getvalue()


def markdown(message: Message) -> str:
    """Write a message as a paragraph and a quotation in which nothing of it is taken for markup."""
    when = local_time(message.time_ms).strftime("%Y-%m-%d %H:%M:%S")
    body = "(redacted)" if message.redacted else visible(message.body).replace("\t", " ")
    lines = [_plain_markdown(line) for line in body.split("\n")]
    if message.data is not None and not message.redacted:
        lines.append(_plain_markdown(escaped(msgspec.json.encode(message.data).decode())))
    quoted = "\\\n> ".join(lines)  # a backslash at its end keeps a line a line
    return f"**{_plain_markdown(one_line(message.sender))}** {when}\n\n> {quoted}\n"


def _plain_markdown(line: str) -> str:
    # Four spaces at the beginning would make a block of code, in which a backslash is one.
    line = _LINE_MARKS.sub(r"\1\\\2", _MARKS.sub(r"\\\1", line))
    spaces = len(line) - len(line.lstrip(" "))
    return "\u00a0" * spaces + line[spaces:] if line.strip() else "\u00a0"


Write = Callable[[Message], str]
WRITERS: Final[dict[str, Write]] = {"text": text_line, "json": json_line, "csv": csv_line, "markdown": markdown}
