"""ReceivedMessage: a message together with the client that answers it."""

from typing import Any, Self

from chatkit.client.client import Client
from chatkit.core.model import Message, Receipt


class ReceivedMessage(Message, frozen=True, kw_only=True):
    """A message that a bot received: a `Message` with `client`, the bot's connection to the server.

    `reply` and `react` raise the errors of `Client.publish`.
    """

    client: Client

    @classmethod
    def new(cls, message: Message, client: Client) -> Self:
        """Return a message with the client that answers it."""
        return cls(**{name: getattr(message, name) for name in Message.__struct_fields__}, client=client)

    async def reply(self, body: str, *, data: Any = None, key: str | None = None) -> Receipt:
        """Publish a reply to this message. The parameters are those of `Client.publish`."""
        return await self.client.reply(self.room, self.seq, body, data=data, key=key)

    async def react(self, emoji: str) -> Receipt:
        """Put an emoji, or a name such as `:tada:`, to this message."""
        return await self.client.react(self.room, self.seq, emoji)
