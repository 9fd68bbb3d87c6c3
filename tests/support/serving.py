"""The servers of the tests: those of the pytest plugin, and servers in a process group of their own."""

import subprocess
import sys
from pathlib import Path

from chatkit.bench.local.store import free_port
from chatkit.pytest_plugin.server_process import ServerFailedError, ServerProcess, clean_environment, serve

__all__ = ["ServerFailedError", "ServerProcess", "clean_environment", "free_port", "serve", "start_in_process_group"]


def start_in_process_group(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start `chatkit serve` in a process group of its own."""
    command = [sys.executable, "-m", "chatkit.cli", "serve", *words]
    env = clean_environment({})
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
