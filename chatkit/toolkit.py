"""The parts with which an application builds rooms.

Open a backend, enter a hub on it, publish drafts to the hub, and read its subscriptions.
"""

from chatkit.backends import open_backend
from chatkit.core.backend import Backend, Filter, Page
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Draft, Gap, Limits, Member, Message, Receipt
from chatkit.core.subscription import Subscription, WouldBlock
from chatkit.errors import ChatkitError

__all__ = [
    "Backend",
    "ChatkitError",
    "Cursor",
    "Draft",
    "Filter",
    "Gap",
    "Hub",
    "Limits",
    "Member",
    "Message",
    "Page",
    "Receipt",
    "Subscription",
    "WouldBlock",
    "open_backend",
]
