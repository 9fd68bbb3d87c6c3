"""PostgresServer: a private PostgreSQL server in a temporary folder, on a free port of this machine.

It keeps its guarantees of durability (fsync stays on) and otherwise uses the defaults, unless options change them.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from chatkit.bench.local.store import LocalStore, free_port
from chatkit.errors import Unavailable

START_WITHIN_S = 60.0  # after a kill, it first replays its log
GONE_WITHIN_S = 30.0
POLL_S = 0.02
DEBIAN_FOLDER = Path("/usr/lib/postgresql")  # Debian's programs by version, not on the PATH
MISSING = "PostgreSQL's initdb and postgres are not installed: on Debian, apt-get install postgresql"
DATABASE = "postgres"  # created by initdb
USER = "chatkit"


class PostgresServer(LocalStore):
    """One database cluster, with additional `options` of postgres.

    As root, it runs as another user of this machine, because PostgreSQL refuses root.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = options
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self._programs = _programs()
        self._user_id, self._group_id = _user_to_run_as()
        self.url = f"postgresql://{USER}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int:
        """The postmaster's process ID, while it runs."""
        if self._process is None:
            raise Unavailable("PostgreSQL does not run")
        return self._process.pid

    def start(self) -> None:
        """Start on the existing data; create them the first time."""
        if self._folder is not None:
            self._start(self._folder)
            return
        self._folder = self._create()
        try:
            self._start(self._folder)
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path) -> None:
        data = folder / "data"
        # Left by a kill; its process ID may belong to another process now.
        (data / "postmaster.pid").unlink(missing_ok=True)
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - found by `_programs`
                [
                    *(f"{self._programs}/postgres", "-D", f"{data}", "-p", f"{self._port}"),
                    *("-c", f"unix_socket_directories={folder}", "-c", "listen_addresses=127.0.0.1"),
                    *("-c", "dynamic_shared_memory_type=mmap"),  # in the folder: a kill leaves nothing elsewhere
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,  # Ctrl-C must not reach it
                user=self._user_id,
                group=self._group_id,
            )
        self._await_ready()

    def run_sql(self, sql: str, database: str = DATABASE) -> str:
        """Run statements as the superuser, with psql; return their output."""
        to = ("-h", "127.0.0.1", "-p", f"{self._port}", "-U", USER, "-d", database)
        done = subprocess.run(  # noqa: S603 - found by `_programs`
            [f"{self._programs}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *to, "-c", sql],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"psql: {done.stderr.strip()}")
        return str(done.stdout).strip()

    def log_text(self) -> str:
        """Return the server's log."""
        log = self._folder / "log" if self._folder else None
        return log.read_text(errors="replace") if log and log.exists() else ""

    def kill(self) -> None:
        """Kill the postmaster and all its children with SIGKILL."""
        if self._process is None:
            return
        pids = self._signal_all(signal.SIGKILL)
        self._process.wait()
        self._process = None
        # The shared memory is released only when all have ended; until then no new server starts.
        deadline = time.monotonic() + GONE_WITHIN_S
        while any(_is_alive(pid) for pid in pids):
            if time.monotonic() > deadline:
                raise Unavailable(f"PostgreSQL's processes do not end: {pids}")
            time.sleep(POLL_S)

    def pause(self) -> None:
        """Stop the postmaster and all its children with SIGSTOP."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the postmaster and all its children with SIGCONT."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and remove its folder."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _create(self) -> Path:
        folder = Path(mkdtemp(prefix="chatkit-postgres-"))
        if self._user_id is not None and self._group_id is not None:
            os.chown(folder, self._user_id, self._group_id)
        done = subprocess.run(  # noqa: S603 - found by `_programs`
            [
                *(f"{self._programs}/initdb", "-D", f"{folder}/data", "-U", USER, "-E", "UTF8", "--no-locale"),
                *("--auth=trust", "--no-sync", "--no-instructions"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            user=self._user_id,
            group=self._group_id,
        )
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise Unavailable(f"initdb failed: {done.stderr.strip()}")
        return folder

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise Unavailable(f"PostgreSQL did not start: {self._log_tail()}")
            with suppress(Unavailable):
                self.run_sql("SELECT 1")
                return
            time.sleep(POLL_S)
        raise Unavailable(f"PostgreSQL did not start within {START_WITHIN_S:.0f} s: {self._log_tail()}")

    def _log_tail(self) -> str:
        return self.log_text()[-500:].strip()

    def _signal_all(self, what: signal.Signals) -> list[int]:
        """Signal the postmaster and its children, which have sessions of their own; return their process IDs."""
        if self._process is None:
            return []
        parent = self._process.pid
        os.kill(parent, signal.SIGSTOP)  # so that it starts no child between listing and signalling
        children = [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == parent]
        for pid in (*children, parent):
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        return [*children, parent]


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs, the newest version if there are several."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = [path.parent for path in DEBIAN_FOLDER.glob("*/bin/initdb")]
    if not folders:
        raise Unavailable(MISSING)
    return max(folders, key=lambda folder: float(folder.parent.name))


def _user_to_run_as() -> tuple[int | None, int | None]:
    """Return a user and a group, or two None if the current user can run PostgreSQL."""
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    raise Unavailable("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it as")


def _is_alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return bool(fields) and fields[0] != "Z"


def _parent(stat: Path) -> int:
    fields = _fields(stat)
    return int(fields[1]) if fields else 0


def _fields(stat: Path) -> list[str]:
    """Return the fields after the process name, from its state on; an empty list if it has ended."""
    try:
        return stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
