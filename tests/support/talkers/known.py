"""What is known of the room in which the clients talk, and what one of them does next."""

import random
from collections import defaultdict, deque
from typing import Final, NamedTuple

from chatkit.core.message_state import Act
from chatkit.core.model import Message

EMOJIS: Final = ("👍", "🎉", ":ok:", "❤️", ":ship:")
FEW: Final = 5  # entries: before them, there is nothing to refer to
RECENT: Final = 30  # messages from whose numbers a target is chosen


class Action(NamedTuple):
    """What a client does: a change or, without an act, a message. `seq` is what it refers to, or 0."""

    act: Act | None
    seq: int
    text: str = ""


class Known:
    """The entries that any client has received so far, as far as the next actions refer to them."""

    def __init__(self) -> None:
        self.last = 0
        self._own: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._reactions: defaultdict[str, deque[tuple[int, str]]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._pinned: deque[int] = deque(maxlen=RECENT)

    def add(self, entry: Message) -> None:
        """Add an entry, if it is new. Each client receives the entries in their order."""
        if entry.seq <= self.last:
            return
        self.last = entry.seq
        if entry.act is None:
            self._own[entry.sender].append(entry.seq)
        elif entry.act is Act.REACT:
            self._reactions[entry.sender].append((entry.of or 0, entry.body))
        elif entry.act is Act.PIN:
            self._pinned.append(entry.of or 0)

    def choose(self, name: str, chance: random.Random) -> Action:
        """Return what a client does next. Some of it is refused, such as a reaction to a change."""
        target = max(1, self.last - chance.randrange(RECENT))
        own = chance.choice(self._own[name] or [target])
        emoji, number = chance.choice(EMOJIS), chance.randrange(10**6)
        match chance.randrange(11) if self.last > FEW else 0:
            case 3:
                return Action(None, target, f"{name} replies {number}")
            case 4 | 5:
                return Action(Act.EDIT, own, f"edited {number}")
            case 6 | 7:
                return Action(Act.REACT, target, emoji)
            case 8 if self._reactions[name]:
                return Action(Act.UNREACT, *chance.choice(self._reactions[name]))
            case 9:
                return Action(Act.REDACT, own if chance.random() < 0.7 else target)
            case 10 if self._pinned and chance.random() < 0.4:
                return Action(Act.UNPIN, chance.choice(self._pinned))
            case 10:
                return Action(Act.PIN, target)
            case _:
                return Action(
                    None, 0, chance.choice([f"{name} {number}", f"@{name} says {number} 🎉", f"{number} @bob"])
                )
