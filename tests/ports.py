"""Free ports, and waiting until a server answers on one."""

import socket
import subprocess
import time
import urllib.error
import urllib.request


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_http(url: str, server: "subprocess.Popen[bytes] | subprocess.Popen[str]", limit_s: float = 30) -> None:
    """Return when the URL answers; fail when the server ended, or does not answer in time."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise AssertionError(f"the server ended with status {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"nothing answers at {url}")
