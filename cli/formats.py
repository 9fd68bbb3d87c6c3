"""The formats in which messages are printed: text, JSON, CSV and Markdown. No I/O.

Text, JSON and Markdown are safe for a terminal. CSV is for programs: its fields hold the stored text, quoted where
necessary, and the caller sanitizes them for a terminal.
"""

import csv
import io
import re
from typing import Final

from chatkit.cli.hook_text import shown_data, shown_text
from chatkit.cli.marks import UNICODE, Marks, sender_of
from chatkit.cli.message_notes import change_text, reply_note, state_note
from chatkit.cli.sanitize import escaped, visible
from chatkit.cli.times import date_and_time
from chatkit.core.message_state import Act
from chatkit.core.model import Gap, GapReason, Message
from chatkit.wire.protocol import WireGap, WireMessage, encode, message_json

INDENT = "    "  # for the second and later lines of a body, so that no body can imitate another message
CSV_COLUMNS = (
    "room", "seq", "time", "sender", "body", "data", "key", "redacted",
    "of", "act", "edited", "reactions", "replies", "pinned",
)  # fmt: skip

_REASONS: Final[dict[GapReason, str]] = {
    "trimmed": "no longer stored",
    "epoch": "the room's log was reset",
    "no-history": "this store keeps no history",
}
# Characters that Markdown interprets: anywhere, and at the beginning of a line.
_MARKS = re.compile(r"([\\`*_\[\]<>&#~|!$])")
_LINE_MARKS = re.compile(r"^(\s*)([-+=]|\d{1,9}(?=[.)]))", re.MULTILINE)


def text_line(message: Message, marks: Marks = UNICODE) -> str:
    """Return a message as text for people, without a final line feed."""
    return f"{date_and_time(message.time_ms)} {''.join(sender_of(message, marks))}: {_body_lines(message)}"


def _body_lines(message: Message) -> str:
    """Return a message's body, with later lines indented and its data on a separate line; an edit after an asterisk."""
    if message.redacted:
        return "(redacted)"
    lines = visible(f"{'* ' if message.act is Act.EDIT else ''}{shown_text(message)}").split("\n")
    if (data := shown_data(message)) is not None:
        lines.append(data)
    return f"\n{INDENT}".join(lines)


def gap_sentence(gap: Gap) -> str:
    """Return a sentence that says which messages are missing, and why."""
    count = gap.before - gap.after - 1
    if gap.reason == "epoch" or count < 1:
        return f"messages are missing here: {_REASONS[gap.reason]}"
    which = f"message {gap.after + 1} is" if count == 1 else f"messages {gap.after + 1} to {gap.before - 1} are"
    return f"{which} missing here: {_REASONS[gap.reason]}"


def json_line(item: Message | Gap) -> str:
    """Return a message, or a gap, as one JSON object."""
    return escaped(message_json(item).decode()) if isinstance(item, Message) else wire_json(WireGap.of(item))


def wire_json(value: object) -> str:
    """Return a value of the wire format as JSON, on one line."""
    return escaped(encode(value).decode())


def csv_header() -> str:
    return ",".join(CSV_COLUMNS)


def csv_line(message: Message) -> str:
    """Return a message as a CSV row (RFC 4180), without a final line feed."""
    wire = WireMessage.of_message(message)
    row = (
        wire.room, wire.seq, wire.time, wire.sender, wire.body, _json_cell(wire.data), wire.key, _flag(wire.redacted),
        wire.of, wire.act, wire.edited and wire.edited.time, _json_cell(wire.reactions), wire.replies or None,
        _flag(wire.pinned),
    )  # fmt: skip
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow(row)  # a field with a character of the terminator is quoted
    return written.getvalue().removesuffix("\r\n")


def _json_cell(value: object) -> str | None:
    return None if value is None else encode(value).decode()


def _flag(is_set: bool) -> str | None:
    return "true" if is_set else None


def markdown(message: Message, quoted: Message | None = None) -> str:
    """Return a message as a Markdown heading line, a quotation and notes, with all markup in the message escaped.

    `quoted` is the message that it answers, if that is known. A change is a heading line with what it did.
    """
    name, marks = sender_of(message)
    head = f"**{_plain_markdown(name)}**{marks} {date_and_time(message.time_ms)}"
    if message.act is not None:
        return f"{head} {_quoted_markdown(change_text(message))}\n"
    body = "(redacted)" if message.redacted else visible(shown_text(message)).replace("\t", " ")
    if (data := shown_data(message)) is not None and not message.redacted:
        body += f"\n{data}"
    notes = (reply_note(message, quoted), state_note(message))
    below = "".join(f"\n{_plain_markdown(note)}\n" for note in notes if note)
    return f"{head}\n\n> {_quoted_markdown(body)}\n{below}"


def _quoted_markdown(text: str) -> str:
    return "\\\n> ".join(map(_plain_markdown, text.split("\n")))  # a backslash at the end of a line is a line break


def _plain_markdown(line: str) -> str:
    # Four leading spaces would start a code block, in which a backslash is a literal character.
    line = _LINE_MARKS.sub(r"\1\\\2", _MARKS.sub(r"\\\1", line))
    spaces = len(line) - len(line.lstrip(" "))
    return "\u00a0" * spaces + line[spaces:] if line.strip() else "\u00a0"
