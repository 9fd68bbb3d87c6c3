"""The clients, for asyncio (`Client`) and for threads (`SyncClient`): publish to rooms, follow and read them."""

from chatkit.client.bot import Bot
from chatkit.client.client import Client
from chatkit.client.http import HistoryResult
from chatkit.client.received_message import ReceivedMessage
from chatkit.client.signals import ConnectionLost, ConnectionRestored, Item, Joined, Presence, Redacted, Signal
from chatkit.client.sync_client import SyncClient
from chatkit.client.validation import MessageListing
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap, Member, Message, Receipt
from chatkit.core.reading import RoomUnread
from chatkit.core.signals import RoomChanged, Typing
from chatkit.wire.http import RoomView

__all__ = [
    "Act",
    "Bot",
    "Client",
    "ConnectionLost",
    "ConnectionRestored",
    "Cursor",
    "Gap",
    "HistoryResult",
    "Item",
    "Joined",
    "Member",
    "Message",
    "MessageListing",
    "Presence",
    "Receipt",
    "ReceivedMessage",
    "Redacted",
    "RoomChanged",
    "RoomUnread",
    "RoomView",
    "Signal",
    "SyncClient",
    "Typing",
]
