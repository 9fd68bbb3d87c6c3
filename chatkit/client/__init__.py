"""The asyncio client: `async with Client(url) as client`, then publish, follow and read."""

from chatkit.client.calls import HistoryPage, RoomView
from chatkit.client.client import Client
from chatkit.client.signal import Back, Item, Joined, Lost, Presence, Redacted, Signal, Typing

__all__ = [
    "Back",
    "Client",
    "HistoryPage",
    "Item",
    "Joined",
    "Lost",
    "Presence",
    "Redacted",
    "RoomView",
    "Signal",
    "Typing",
]
