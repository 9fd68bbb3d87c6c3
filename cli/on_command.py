"""MessageCommand: runs a program for a message, with the message on its standard input. Knows no room and no consumer.

Nothing of a message is in the words of the command line, and no shell reads it.
"""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

import msgspec

from chatkit.errors import BadRequest

TERM_S: Final = 5.0  # between SIGTERM and SIGKILL
PIPES_S: Final = 1.0  # for the end of the output: what the program has left running may still hold it
MAX_REPLY_BYTES: Final = 65_536  # the longest body of a message
MAX_OUTPUT_BYTES: Final = 2 * MAX_REPLY_BYTES  # enough to know whether a reply is cut
MAX_ERROR_BYTES: Final = 4_096  # of standard error: its end is the reason of a failure
MAX_REASON_LINES: Final = 5
STDOUT, STDERR = 1, 2


class CommandResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a run has ended. `reason` says why it has failed; None if it has not."""

    duration_s: float
    status: int | None = None
    signal: str | None = None
    reason: str | None = None
    output: bytes = b""


class MessageCommand:
    """A program and its arguments. If `reads_output`, the result has its standard output.

    Otherwise, that goes to `stdout`, a descriptor. `on_errors` gets what the program writes to standard error. Raise
    `BadRequest` if there is no such program.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        timeout_s: float | None = None,
        reads_output: bool = False,
        stdout: int = STDOUT,
        on_errors: Callable[[bytes], object] | None = None,
    ) -> None:
        if shutil.which(words[0]) is None:
            raise BadRequest(f"there is no command {words[0]!r} that you may run")
        self._words = words
        self._timeout_s = timeout_s
        self._stdout = asyncio.subprocess.PIPE if reads_output else stdout
        self._on_errors = on_errors
        self._running: set[int] = set()  # the process groups

    async def run(self, given: bytes, env: Mapping[str, str]) -> CommandResult:
        """Run the program with this standard input, and these variables in its environment, and wait for its end."""
        started_at = time.monotonic()
        try:
            transport, process = await self._start({**os.environ, **env})
        except OSError as error:
            return CommandResult(0.0, reason=f"cannot be run: {error.strerror or error}")
        group = transport.get_pid()
        self._running.add(group)
        try:
            stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
            stdin.write(given)
            stdin.close()  # after everything is written
            is_late = await self._wait(process, group)
            with suppress(TimeoutError):
                async with asyncio.timeout(PIPES_S):
                    await process.ended.wait()
        finally:
            self._running.discard(group)
            await _kill(transport, process)
        return _result(transport.get_returncode(), process, time.monotonic() - started_at, is_late=is_late)

    def kill(self) -> None:
        """Kill what runs."""
        for group in self._running:
            _signal(group, signal.SIGKILL)

    async def _start(self, env: Mapping[str, str]) -> "tuple[asyncio.SubprocessTransport, _Process]":
        starting = asyncio.ensure_future(
            asyncio.get_running_loop().subprocess_exec(
                lambda: _Process(self._on_errors),
                *self._words,
                stdin=asyncio.subprocess.PIPE,
                stdout=self._stdout,
                stderr=asyncio.subprocess.PIPE,
                env=env,
                start_new_session=True,  # a group of its own: Ctrl-C is for this command, and the group can be ended
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:  # not passed on: a start that is cancelled half-way may never end
            await _kill(*await starting)
            raise

    async def _wait(self, process: "_Process", group: int) -> bool:
        """Wait for the program's end; end it after its time. Return whether that was necessary."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await process.exited.wait()
        except TimeoutError:
            _signal(group, signal.SIGTERM)
        else:
            return False
        try:
            async with asyncio.timeout(TERM_S):
                await process.exited.wait()
        except TimeoutError:
            _signal(group, signal.SIGKILL)
            await process.exited.wait()
        return True


class _Process(asyncio.SubprocessProtocol):
    """What a process has written: the beginning of its output, and the end of its errors."""

    def __init__(self, on_errors: Callable[[bytes], object] | None) -> None:
        self.exited = asyncio.Event()
        self.ended = asyncio.Event()  # set when it has exited and its output has ended
        self.output = bytearray()
        self.errors = b""
        self._on_errors = on_errors

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == STDOUT:
            self.output += data[: MAX_OUTPUT_BYTES - len(self.output)]
            return
        self.errors = (self.errors + data)[-MAX_ERROR_BYTES:]
        if self._on_errors is not None:
            self._on_errors(data)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.exited.set()
        self.ended.set()


def reply_text(output: bytes) -> tuple[str, bool]:
    """Return the text of a reply, in which bytes that are not UTF-8 are marked, and whether its end was cut off."""
    text = output.decode(errors="replace").strip("\n").encode()
    return text[:MAX_REPLY_BYTES].decode(errors="ignore"), len(text) > MAX_REPLY_BYTES


async def _kill(transport: asyncio.SubprocessTransport, process: _Process) -> None:
    """Kill a process that has not exited, and release what it used here."""
    if not process.exited.is_set():
        _signal(transport.get_pid(), signal.SIGKILL)
        await process.exited.wait()
    transport.close()


def _result(returncode: int | None, process: _Process, duration_s: float, *, is_late: bool) -> CommandResult:
    parts: dict[str, Any] = {"duration_s": round(duration_s, 3), "output": bytes(process.output)}
    if returncode is not None and returncode < 0:
        parts["signal"] = _name_of_signal(-returncode)
        sentence = f"ended by {parts['signal']}"
    else:
        parts["status"] = returncode
        sentence = f"exit code {returncode}"
    if is_late:
        sentence = f"took too long, {sentence}"
    if is_late or returncode != 0:
        lines = [line for line in process.errors.decode(errors="replace").splitlines() if line.strip()]
        parts["reason"] = ": ".join([sentence, *(["\n".join(lines[-MAX_REASON_LINES:])] if lines else [])])
    return CommandResult(**parts)


def _name_of_signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
