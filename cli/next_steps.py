"""What a person can do about a refusal: a remark that follows the error's sentence."""

from typing import Final

from chatkit.errors import Banned, ChatkitError, Forbidden, NameTaken, NotFound, Unauthorized

_STEPS: Final[dict[type[ChatkitError], str]] = {
    Unauthorized: "give a token with --token or in CHATKIT_TOKEN; the operator of the server makes one",
    NameTaken: "--name NAME or --token TOKEN",
    Banned: "ask a moderator if you think that this is a mistake",
    Forbidden: "ask a moderator or the operator of the server",
    NotFound: "'chatkit rooms' lists the rooms that you may read; a token may open others",
}


def with_next_step(error: ChatkitError) -> str:
    """Return the sentence of an error and, after a refusal, what can be done about it."""
    step = next((step for kind, step in _STEPS.items() if isinstance(error, kind)), None)
    return str(error) if step is None else f"{error} ({step})"


def look_for_numbers(room: str) -> str:
    """Return where a person finds the numbers of a room's messages."""
    return f"'chatkit history {room}' shows the numbers on a terminal"
