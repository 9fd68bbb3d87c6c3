"""The asyncio protocols under the name that applications give to `uvicorn --ws` and `--http`."""

from chatkit.protocols import DIRECT, HttpProtocol, WebSocketProtocol

__all__ = ["DIRECT", "HttpProtocol", "WebSocketProtocol"]
