"""Echoes: which news are of this process's own doing, and known already from what its calls returned. No I/O."""

from collections import deque

# Appends whose echo may still come; it comes with the answer, give or take what waits on the other connection.
MAX_ENDED = 4_096


class OwnPublishes:
    """Names this process's calls, and knows them again in what is published."""

    def __init__(self, process: str) -> None:
        self.process = process
        self._count = 0
        self._own = {process.encode()}
        self._ended: deque[bytes] = deque()

    def begin(self) -> str:
        """Name an append that is about to be sent."""
        self._count += 1
        name = f"{self.process}{self._count:x}"
        self._own.add(name.encode())
        return name

    def end(self, name: str) -> None:
        """Say that an append was answered: its echo is nothing new, whenever it comes."""
        self._ended.append(name.encode())
        if len(self._ended) > MAX_ENDED:
            self._own.discard(self._ended.popleft())

    def fail(self, name: str) -> None:
        """Say that nobody knows what came of an append: its echo is as good as another process's."""
        self._own.discard(name.encode())

    def is_own(self, payload: bytes) -> bool:
        """Say whether a payload, which begins with a name in quotes, is an echo."""
        return payload[2 : payload.index(b'"', 2)] in self._own
