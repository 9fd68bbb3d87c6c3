"""The asyncio client: `async with Client(url) as client`, then publish, follow and read."""

from chatkit.client.client import Client
from chatkit.client.http import HistoryPage, RoomView
from chatkit.client.signals import Back, Item, Joined, Lost, Presence, Redacted, Signal, Typing

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
