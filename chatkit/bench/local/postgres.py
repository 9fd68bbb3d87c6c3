"""PostgresServer: a PostgreSQL of one's own, in a temporary folder, on a free port of this machine.

It keeps what a database needs to keep to its word (fsync stays on), and leaves everything else as it comes.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from chatkit.bench.local.store import LocalStore, free_port
from chatkit.errors import Unavailable

START_WITHIN_S = 60.0  # a killed one first replays its log
GONE_WITHIN_S = 30.0
POLL_S = 0.02
DEBIAN_FOLDER = Path("/usr/lib/postgresql")  # where Debian puts each version's programs, off the PATH
MISSING = "PostgreSQL's initdb and postgres are not here: on Debian, apt-get install postgresql"
DATABASE = "postgres"  # the one that initdb makes
USER = "chatkit"


class PostgresServer(LocalStore):
    """One database cluster. As root it runs as another user of this machine: PostgreSQL refuses root."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self._programs = _programs()
        self._user_id, self._group_id = _user_to_run_as()
        self.url = f"postgresql://{USER}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int:
        """The postmaster's process id, while it runs."""
        if self._process is None:
            raise Unavailable("PostgreSQL does not run")
        return self._process.pid

    def start(self) -> None:
        """Start, on the data that are there; make them the first time."""
        if self._folder is not None:
            self._start(self._folder)
            return
        self._folder = self._make()
        try:
            self._start(self._folder)
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path) -> None:
        data = folder / "data"
        (data / "postmaster.pid").unlink(missing_ok=True)  # a killed one's: its number may be another process's now
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - found by `_programs`
                [
                    *(f"{self._programs}/postgres", "-D", f"{data}", "-p", f"{self._port}"),
                    *("-c", f"unix_socket_directories={folder}", "-c", "listen_addresses=127.0.0.1"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,  # Ctrl-C is for whoever started it
                user=self._user_id,
                group=self._group_id,
            )
        self._await_ready()

    def run_sql(self, sql: str, database: str = DATABASE) -> str:
        """Run statements as the superuser, with psql; return what they print."""
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
        """Return what the server has logged."""
        log = self._folder / "log" if self._folder else None
        return log.read_text(errors="replace") if log and log.exists() else ""

    def kill(self) -> None:
        """End the postmaster and all its children with SIGKILL."""
        if self._process is None:
            return
        pids = self._signal_all(signal.SIGKILL)
        self._process.wait()
        self._process = None
        # Only when all are gone does the shared memory go, without which no new one starts.
        deadline = time.monotonic() + GONE_WITHIN_S
        while any(_is_alive(pid) for pid in pids):
            if time.monotonic() > deadline:
                raise Unavailable(f"PostgreSQL's processes do not end: {pids}")
            time.sleep(POLL_S)

    def pause(self) -> None:
        """Stop the postmaster and all its children."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _make(self) -> Path:
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
                raise Unavailable(f"PostgreSQL did not start: {self._last_words()}")
            with suppress(Unavailable):
                self.run_sql("SELECT 1")
                return
            time.sleep(POLL_S)
        raise Unavailable(f"PostgreSQL did not start within {START_WITHIN_S:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        return self.log_text()[-500:].strip()

    def _signal_all(self, what: signal.Signals) -> list[int]:
        """Signal the postmaster and its children, who are sessions of their own; return who they are."""
        if self._process is None:
            return []
        parent = self._process.pid
        os.kill(parent, signal.SIGSTOP)  # so that it starts no child between the look and the signal
        children = [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == parent]
        for pid in (*children, parent):
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        return [*children, parent]


def _programs() -> Path:
    """Find the folder of PostgreSQL's programs, the newest where there are several."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = [path.parent for path in DEBIAN_FOLDER.glob("*/bin/initdb")]
    if not folders:
        raise Unavailable(MISSING)
    return max(folders, key=lambda folder: float(folder.parent.name))


def _user_to_run_as() -> tuple[int | None, int | None]:
    """Return a user and a group, or two None where this user will do."""
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    raise Unavailable("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it as")


def _is_alive(pid: int) -> bool:
    """Say whether the process runs: one that ended and was not yet waited for does not."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return bool(fields) and fields[0] != "Z"


def _parent(stat: Path) -> int:
    fields = _fields(stat)
    return int(fields[1]) if fields else 0


def _fields(stat: Path) -> list[str]:
    """Return what stands behind a process's name, from its state on; nothing if it has ended."""
    try:
        return stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
