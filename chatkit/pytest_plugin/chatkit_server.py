"""ChatkitServer: a server for tests that can be made to fail in the ways in which real ones do."""

import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatkit.client import Client
from chatkit.client.endpoint import Endpoint
from chatkit.client.http import HttpClient
from chatkit.pytest_plugin.relay import Relay
from chatkit.pytest_plugin.server_process import ServerProcess, serve

FULL_DISK_BYTES = 1  # the size that no file of the server may exceed: then every write to the store fails


class ChatkitServer:
    """A real `chatkit serve` on a temporary SQLite store. The fixture `chatkit_server` provides it.

    Clients connect to `url`, a relay before the server, whose connections `drop_links` breaks. The address and the
    store stay the same when the server is killed and restarted. A fault lasts until it is undone, or the fixture ends.

    The faults use signals and limits of POSIX systems. They raise `ServerFailedError` if the server does not run.
    """

    def __init__(self, process: ServerProcess, relay: Relay) -> None:
        self._process = process
        self._relay = relay

    @property
    def url(self) -> str:
        """The URL of the server, for clients."""
        return self._relay.url

    @property
    def log(self) -> str:
        """The output of the server. A test that fails shows it."""
        return self._process.log

    def client(self, name: str | None = None, token: str | None = None, **options: Any) -> Client:
        """Return an asynchronous client, to be entered with `async with`. The parameters are those of `Client`."""
        return Client(self.url, name, token, **options)

    def publish(
        self,
        room: str,
        body: str,
        *,
        data: Any = None,
        key: str | None = None,
        name: str | None = "test",
        token: str | None = None,
    ) -> int:
        """Publish a message and return its `seq`. The connection does not pass the relay.

        Args:
            room: Name of the room.
            body: Text of the message.
            data: JSON value for programs.
            key: Key of the message, or None for one that is generated.
            name: Sender of the message.
            token: Access token, if the server needs one.

        Raises:
            Unavailable: If the server does not answer within 30 seconds, or cannot write.
            ChatkitError: If the server refuses the message.

        """
        with HttpClient(Endpoint.parse(self._process.url, name, token)) as calls:
            return calls.publish(room, body, data=data, key=key or secrets.token_urlsafe(12)).message.seq

    def drop_links(self, *, silently: bool = False) -> None:
        """Break all connections to `url`; new ones work.

        Args:
            silently: Whether the connections stay open and carry nothing, as after a network failure. Otherwise,
                they are reset.

        """
        if silently:
            self._relay.cut()
        else:
            self._relay.drop()

    def pause(self) -> None:
        """Stop the process with SIGSTOP: its connections stay open, and it does not answer."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process after `pause`."""
        self._process.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process with SIGKILL. It has no time to write anything."""
        self._process.kill9()

    def restart(self) -> None:
        """Start the server again, at the same address and with the same store; return when it answers.

        A server that runs is stopped with SIGTERM before.
        """
        self._process.restart()

    def fill_disk(self) -> None:
        """Let every write to the store fail, as if its disk were full. Reading works.

        It limits the size of the files of the server's process (`RLIMIT_FSIZE`), and needs no privileges. The log is a
        file, too, and misses what happens until `free_disk`. A server that is restarted has space again.

        Raises:
            RuntimeError: If the system is not Linux.

        """
        self._limit_files(FULL_DISK_BYTES)

    def free_disk(self) -> None:
        """Let writes succeed again, after `fill_disk`."""
        self._limit_files(None)

    def _limit_files(self, max_bytes: int | None) -> None:
        if sys.platform != "linux":
            raise RuntimeError("a full disk is simulated with prlimit, which only Linux has")
        import resource  # noqa: PLC0415 - not on all systems

        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (hard if max_bytes is None else max_bytes, hard))


@contextmanager
def serve_chat(folder: Path, *options: str) -> Iterator[ChatkitServer]:
    """Run a server with its store and log in a folder until the block ends, whatever fault was left in it."""
    # The user's own settings must not count.
    env = {"XDG_CONFIG_HOME": str(folder)}
    with serve(folder / "rooms.db", "--rate-limit", "0", *options, env=env) as process:
        relay = Relay(process.port)
        with relay.running():
            yield ChatkitServer(process, relay)
