"""asyncio protocols for uvicorn that serve any ASGI application, with a direct path beside it. They know no rooms."""

from chatkit.protocols.detect import HttpProtocol
from chatkit.protocols.websocket import DIRECT, DirectSocket, Receiver, WebSocketProtocol

__all__ = ["DIRECT", "DirectSocket", "HttpProtocol", "Receiver", "WebSocketProtocol"]
