"""A Redis Sentinel for tests."""

import subprocess
from pathlib import Path

from chatkit.bench.local.redis import RedisServer

PASSWORD = "s3cret"  # of the servers, not of the sentinel


class Sentinel(RedisServer):
    """A sentinel of one master, with a short time-out."""

    def __init__(self, master: RedisServer, folder: Path) -> None:
        super().__init__()
        self._conf = folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            f"sentinel monitor rooms 127.0.0.1 {master.port} 1",
            f"sentinel auth-pass rooms {PASSWORD}",
            "sentinel down-after-milliseconds rooms 300",
            "sentinel failover-timeout rooms 3000",
        ]
        self._conf.write_text("\n".join(lines))

    def start(self) -> None:
        """Start with a configuration file that the sentinel may write to."""
        self._process = subprocess.Popen(
            [self._server, self._conf, "--sentinel"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        (self.folder / "log").touch()
        self._await(self._responds, "does not answer")
