"""The asyncio client: `async with Client(url) as client`, then publish, follow and read."""

from chatkit.client.client import Client
from chatkit.client.http import HistoryResult
from chatkit.client.signals import ConnectionLost, ConnectionRestored, Item, Joined, Presence, Redacted, Signal
from chatkit.core.signals import RoomChanged, Typing
from chatkit.wire.http import RoomView

__all__ = [
    "Client",
    "ConnectionLost",
    "ConnectionRestored",
    "HistoryResult",
    "Item",
    "Joined",
    "Presence",
    "Redacted",
    "RoomChanged",
    "RoomView",
    "Signal",
    "Typing",
]
