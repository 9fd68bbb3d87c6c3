"""The asyncio protocols, under the public name for `uvicorn --ws` and `--http`."""

from chatkit.protocols import DIRECT, HttpProtocol, WebSocketProtocol

__all__ = ["DIRECT", "HttpProtocol", "WebSocketProtocol"]
