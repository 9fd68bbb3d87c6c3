"""The clients, for asyncio (`Client`) and for threads (`SyncClient`): publish to rooms, follow and read them."""

from chatkit.client.bot import Bot
from chatkit.client.client import Client
from chatkit.client.http import HistoryResult
from chatkit.client.received_message import ReceivedMessage
from chatkit.client.signals import ConnectionLost, ConnectionRestored, Item, Joined, Presence, Redacted, Signal
from chatkit.client.sync_client import SyncClient
from chatkit.core.signals import RoomChanged, Typing
from chatkit.wire.http import RoomView

__all__ = [
    "Bot",
    "Client",
    "ConnectionLost",
    "ConnectionRestored",
    "HistoryResult",
    "Item",
    "Joined",
    "Presence",
    "ReceivedMessage",
    "Redacted",
    "RoomChanged",
    "RoomView",
    "Signal",
    "SyncClient",
    "Typing",
]
