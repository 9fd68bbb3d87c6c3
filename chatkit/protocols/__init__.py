"""asyncio protocols for uvicorn: they serve any ASGI application, and offer the direct path. Know nothing of rooms."""

from chatkit.protocols.detect import HttpProtocol
from chatkit.protocols.websocket import DIRECT, DirectSocket, Receiver, WebSocketProtocol

__all__ = ["DIRECT", "DirectSocket", "HttpProtocol", "Receiver", "WebSocketProtocol"]
