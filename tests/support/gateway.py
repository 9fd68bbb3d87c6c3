"""nginx in front of several servers, configured by `examples/deploy/nginx.conf` except for ports and paths."""

import http.client
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from raw_client import WITHIN_S, Answer, Lines, eventually
from serving import free_port

CONFIGURATION = Path(__file__).parents[2] / "examples/deploy/nginx.conf"
SITE = "chat.example"
OUTSIDE = "daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 2; {user}"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Gateway:
    """The site, over TLS. `url` and `ws_url` are by its name; `options` lead a WebSocket's client there."""

    url = f"https://{SITE}"
    ws_url = f"wss://{SITE}"

    def __init__(self, folder: Path, servers: Sequence[int]) -> None:
        self.log = folder / "access.log"
        self._port, self._plain_port = free_port(), free_port()
        self._folder = folder
        self._servers = servers

    @property
    def options(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self._port, "ssl": self._tls, "origin": self.url}

    def call(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        """Make one HTTP call. A header's name is given with underscores."""
        connection = http.client.HTTPConnection(SITE)
        connection.sock = self.connect()
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def connect(self) -> ssl.SSLSocket:
        return self._tls.wrap_socket(
            socket.create_connection(("127.0.0.1", self._port), WITHIN_S), server_hostname=SITE
        )

    @contextmanager
    def stream(self, path: str, *headers: str) -> Iterator[Lines]:
        """Open a streamed answer."""
        with self.connect() as opened:
            opened.sendall("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {SITE}", *headers, "", ""]).encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = opened.recv(1)
                assert byte, head
                head += byte
            lines = Lines(opened, head)
            try:
                yield lines
            finally:
                lines.close()

    @contextmanager
    def running(self) -> Iterator[None]:
        self._tls = self._certified()
        command = [_program("nginx"), "-p", str(self._folder), "-c", str(self._configuration())]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        nginx = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            eventually(self._answers)
            yield
        finally:
            nginx.terminate()
            nginx.wait(WITHIN_S)

    def _answers(self) -> bool:
        with suppress(OSError):
            self.connect().close()
            return True
        return False

    def _certified(self) -> ssl.SSLContext:
        subject = ("-subj", f"/CN={SITE}", "-addext", f"subjectAltName=DNS:{SITE}")
        files = ("-keyout", f"{self._folder}/privkey.pem", "-out", f"{self._folder}/fullchain.pem")
        how = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        subprocess.run([_program("openssl"), *how, *subject, *files], check=True, capture_output=True)
        return ssl.create_default_context(cafile=f"{self._folder}/fullchain.pem")

    def _configuration(self) -> Path:
        """Write a whole configuration around ours."""
        ours = CONFIGURATION.read_text()
        first, second = self._servers
        for there, here in {
            "listen 80;": f"listen 127.0.0.1:{self._plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self._port} ssl;",
            "/etc/letsencrypt/live/chat.example/": f"{self._folder}/",
            "/var/log/nginx/chatkit.log": str(self.log),
            "127.0.0.1:8001": f"127.0.0.1:{first}",
            "127.0.0.1:8002": f"127.0.0.1:{second}",
        }.items():
            assert there in ours, there
            ours = ours.replace(there, here)
        # Started by root, it would serve as a user who may not see this folder.
        user = "user root;" if self._folder.owner() == "root" else ""
        folders = "".join(f"{name}_temp_path {self._folder}/{name}; " for name in TEMPORARY)
        outside = OUTSIDE.format(folder=self._folder, user=user)
        path = self._folder / "nginx.conf"
        path.write_text(f"{outside} events {{}} http {{ access_log off; {folders}\n{ours}}}\n")
        return path


@contextmanager
def gateway(folder: Path, servers: Sequence[int]) -> Iterator[Gateway]:
    """Run nginx before two servers, by their ports, until the block ends."""
    folder.mkdir()
    site = Gateway(folder, servers)
    with site.running():
        yield site


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")  # off a user's path
    assert found is not None, f"the tests need {name}: on Debian, apt-get install {name}"
    return found
