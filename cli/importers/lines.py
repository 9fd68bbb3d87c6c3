"""LineReader: the lines of a file or of standard input, one at a time, each of a bounded size."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from chatkit.cli.input import open_input, without_mark
from chatkit.errors import BadRequest

# A line with a body and data of 1 MiB each, all of it escaped as \u0000, has 12 MiB.
MAX_LINE_BYTES: Final = 16 * 2**20


class LineReader:
    """The lines of the file at a path, or of standard input if the path is `-`. Enter it with `with`."""

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        self.number = 0  # of the line that was read last
        self.is_cut = False  # that line has no line feed
        self._path = path
        self._n_bytes = 0
        self._total = 0
        self._file: BinaryIO

    def __enter__(self) -> Self:
        self._file = open_input() if self._path == "-" else Path(self._path).open("rb")
        self._total = os.fstat(self._file.fileno()).st_size  # 0 for a pipe
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def share(self) -> float | None:
        """The part of the file that was read, or None if its size is not known."""
        return self._n_bytes / self._total if self._total else None

    @property
    def place(self) -> str:
        """The line that was read last, for an error."""
        return f"line {self.number:,}"

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the lines, without their line feeds. Raise `BadInput` for a line that is too long, or UTF-16."""
        while line := self._file.readline(MAX_LINE_BYTES):
            self.number += 1
            self._n_bytes += len(line)
            self.is_cut = not line.endswith(b"\n")
            if self.is_cut and len(line) == MAX_LINE_BYTES:
                raise BadRequest(f"{self.place}: the line is longer than {MAX_LINE_BYTES:,} bytes")
            yield (without_mark(line, self.name) if self.number == 1 else line).rstrip(b"\r\n")
