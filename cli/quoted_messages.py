"""QuotedMessages: the messages that replies answer, remembered from what was printed, or looked up."""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from chatkit.cli.message_notes import MAX_QUOTED_CHARS
from chatkit.core.message_state import Act
from chatkit.core.model import Message
from chatkit.errors import RateLimited

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client

MAX_REMEMBERED: Final = 1_000  # messages: a reply rarely answers an older one
MAX_LOOKUPS: Final = 50  # of messages that were not printed: each is a request
MAX_KEPT_CHARS: Final = 4 * MAX_QUOTED_CHARS  # of a text whose beginning is quoted


class QuotedMessages:
    """The messages of a room that replies may answer. If `raw`, with their texts as they were written.

    Without a `source`, only those that were printed are known.
    """

    def __init__(self, source: "Client | StoreClient | None", room: str, *, raw: bool = False) -> None:
        self._source = source
        self._room = room
        self._raw = raw
        self._lookups_left = MAX_LOOKUPS
        self._known: dict[int, Message | None] = {}

    async def find(self, entry: Message) -> Message | None:
        """Return the message that an entry answers, if it is a reply and that message is known. Remember the entry."""
        self._remember(entry)
        if entry.of is None or entry.act is not None:
            return None
        if entry.of not in self._known:
            self._add(entry.of, await self._look_up(entry.of))
        return self._known[entry.of]

    def _remember(self, entry: Message) -> None:
        if entry.act is None:
            self._add(entry.seq, entry)
        elif (target := self._known.get(entry.of or 0)) is not None:
            if entry.act is Act.EDIT:
                self._add(target.seq, replace(target, body=entry.body))
            elif entry.act is Act.REDACT:
                self._add(target.seq, target.tombstone())

    def _add(self, seq: int, message: Message | None) -> None:
        if message is not None:
            message = replace(message, body=message.body[:MAX_KEPT_CHARS], data=None)
        self._known[seq] = message
        if len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]

    async def _look_up(self, seq: int) -> Message | None:
        if self._source is None or self._lookups_left == 0:
            return None
        self._lookups_left -= 1
        with suppress(RateLimited):  # the number of the message is then all that is printed
            page = await self._source.history(self._room, after=seq - 1, before=seq + 1, limit=1, raw=self._raw)
            return next(iter(page.messages), None)
        return None
