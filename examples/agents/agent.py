"""An agent in a room: it waits for messages that mention it, asks a model what to answer, and replies.

`Model` is the place for a real one; `conversation.py` has scripted ones. Needs `pip install 'chatkit[mcp]'`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client

Model: TypeAlias = Callable[[dict[str, Any]], Awaitable[str | None]]
"""Returns the answer to a message, or None for no answer."""

TIMEOUT_S = 60  # a call may wait for 30 s


class ToolFailed(Exception):
    """A tool reported an error: `code` is that of the server, such as `bot-loop`."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


async def run_agent(url: str, token: str, room: str, model: Model, on_refused: Callable[[ToolFailed], None]) -> None:
    """Answer mentions in a room until cancelled. `on_refused` is called if the server refuses an answer."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=TIMEOUT_S) as http,
        mcp.Client(streamable_http_client(f"{url}/mcp", http_client=http)) as session,
    ):
        cursor = (await call(session, "post_message", room=room, text="I am here: mention me"))["cursor"]
        while True:
            found = await call(session, "wait_for_messages", room=room, after=cursor, mentions_only=True)
            cursor = found["cursor"]
            for message in found["messages"]:
                try:
                    await answer(session, model, message)
                except ToolFailed as error:
                    on_refused(error)


async def answer(session: mcp.Client, model: Model, message: dict[str, Any]) -> None:
    """Reply to a message, if the model has an answer."""
    text = await model(message)
    if text is not None:
        # With this key, the reply is stored once, also if the agent is restarted and sees the message again.
        key = f"answer-{message['seq']}"
        await call(session, "reply", room=message["room"], seq=message["seq"], text=text, key=key)


async def call(session: mcp.Client, tool: str, **arguments: Any) -> Any:
    """Call a tool and return its structured result. Raise `ToolFailed`."""
    result = await session.call_tool(tool, arguments)
    if result.is_error:
        sentence = " ".join(part.text for part in result.content if part.type == "text")
        raise ToolFailed(str((result.meta or {}).get("chatkit/code", "error")), sentence)
    return result.structured_content
