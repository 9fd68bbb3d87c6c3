"""Makes the draft of a `publish` command and the filter of a `history` command, and checks all but rights and rates."""

from chatkit.core.access import Identity
from chatkit.core.backend import Filter
from chatkit.core.model import Draft, Limits, check_body, check_data, check_key, check_reference
from chatkit.core.text import check_search
from chatkit.errors import BadRequest
from chatkit.wire.protocol import HistoryCommand, PublishCommand


def draft_of(command: PublishCommand, room: str, sender: str, identity: Identity, limits: Limits) -> Draft:
    """Return the draft of a sender's message. Raise `BadBody`, `TooLarge`, `BadName` or `BadRequest`."""
    body, data, key = command.body, command.data, command.key
    if command.of is not None or command.act is not None:
        body = check_reference(command.of, command.act, body or "", data)
    elif body is None and data is None:
        raise BadRequest("publish needs a body")
    if body is None:
        body = ""
    elif len(body) > limits.body or not body.isascii():  # otherwise, it has one byte a character
        check_body(body, limits.body)
    return Draft(
        room,
        sender,
        body,
        None if data is None else check_data(data, limits.data),
        None if key is None else check_key(key),
        identity.is_verified,
        identity.is_bot,
        command.of,
        command.act,
    )


def filter_of(command: HistoryCommand) -> Filter | None:
    """Return the filter of the messages that a client asks for. Raise `BadRequest`."""
    if not command.search and command.of is None:
        return None
    return Filter(search=check_search(command.search) if command.search else None, of=command.of)
