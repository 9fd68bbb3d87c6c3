"""The check that a reader gets every committed message once and in order, and a gap for missing ones."""

from collections import Counter
from collections.abc import Sequence

from chatkit.core.model import Gap, Message, Receipt
from chatkit.core.subscription import Item


class Log:
    """Everything that was committed, by epoch, and how far each log was trimmed."""

    def __init__(self) -> None:
        self.by_epoch: dict[str, list[Message]] = {}
        self.trimmed: Counter[str] = Counter()

    def committed(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            self.by_epoch.setdefault(receipt.message.epoch, []).append(receipt.message)


class Witness:
    """Checks that one reader gets every message once and in order, and a gap for missing ones."""

    def __init__(self, log: Log, epoch: str, position: int) -> None:
        self.log = log
        self.epoch = epoch
        self.position = position

    def saw(self, items: Sequence[Item]) -> None:
        for item in items:
            if self.position == 0:
                self.epoch = ""  # a reader at position 0 misses nothing of a log that started again
            if isinstance(item, Gap):
                assert item.after == self.position, f"{item} does not begin at {self.position}"
                if item.reason == "epoch":
                    self.epoch = ""  # the next message has it
                else:
                    trimmed = self.log.trimmed[self.epoch] if self.epoch else max(self.log.trimmed.values())
                    assert self.position < item.before - 1 <= trimmed, f"{item}: they were there"
                self.position = item.before - 1
            else:
                self.epoch = self.epoch or item.epoch
                assert (item.epoch, item.seq) == (self.epoch, self.position + 1), f"{item} after {self.position}"
                assert item.redacted or item.body == self.log.by_epoch[item.epoch][item.seq - 1].body
                self.position = item.seq
