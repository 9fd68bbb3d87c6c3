"""EventPipe: JSON lines that child processes of the benchmark write to one pipe, each below `MAX_EVENT_BYTES`."""

import asyncio
import os
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

READ_BYTES = 65_536

Event = TypeVar("Event", bound=msgspec.Struct)


class EventPipe(Generic[Event]):
    """Reads events of one type, and passes each to `on_event`. Children inherit `write_end`. Close it at the end."""

    def __init__(self, event_type: type[Event], on_event: Callable[[Event], None]) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._rest = b""  # the beginning of an event
        self._type = event_type
        self._on_event = on_event

    def listen(self) -> None:
        """Read events as they come, in the running event loop, until `close`."""
        asyncio.get_running_loop().add_reader(self._read_end, self.read)

    def ignore(self) -> None:
        """Read no more events as they come."""
        asyncio.get_running_loop().remove_reader(self._read_end)

    def read(self) -> None:
        """Read what was written so far."""
        try:
            while data := os.read(self._read_end, READ_BYTES):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._on_event(msgspec.json.decode(line, type=self._type))
        except BlockingIOError:
            return  # that was all

    def close(self) -> None:
        """Close both ends."""
        os.close(self._read_end)
        os.close(self.write_end)
