"""CopiedPostgresServer: a PostgreSQL server whose first data are copied, because `initdb` takes ten times as long."""

import fcntl
import os
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from chatkit.bench.local.postgres import PostgresServer

SHARED = "CHATKIT_TESTS_SHARED"  # the environment variable with the folder that all processes of a test run share


class CopiedPostgresServer(PostgresServer):
    """A server like its base, for one test run: the first process that needs one runs `initdb` for all."""

    def _create(self) -> Path:
        shared = Path(os.environ[SHARED])
        template = shared / "postgres"
        with (shared / "postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                super()._create().rename(template)
        folder = Path(mkdtemp(prefix="chatkit-postgres-"))
        subprocess.run(["cp", "-a", f"{template}/.", str(folder)], check=True)  # also the owner, who is not root
        return folder
