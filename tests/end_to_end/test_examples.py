"""The example applications, each run by `chatkit serve`."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from serving import clean_environment, free_port
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket
from websockets.typing import Subprotocol

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT_S = 20.0  # only what hangs takes so long
APPS = (
    "litestar_chat",
    "litestar_publish",
    "litestar_by_hand:app",
    "litestar_history:app",
    "litestar_backpressure:app",
    "litestar_backpressure:dropleft_app",
    "litestar_generated:app",
    "litestar_generated:arbitrary_app",
    "litestar_listeners:app",
    "litestar_streams:app",
    "thirty_lines:app",
)


@contextmanager
def serving(app: str, folder: Path, *options: str) -> Iterator["Server"]:
    """Run an application of the examples; it ends well, within seconds, when the block does."""
    server = Server(app, folder, options)
    try:
        yield server
    finally:
        server.process.terminate()
        assert server.process.wait(LIMIT_S) == 0, server.log.read_text()


class Server:
    """One `chatkit serve APP`, started but not waited for."""

    def __init__(self, app: str, folder: Path, options: tuple[str, ...]) -> None:
        self.port = free_port()
        self.log = folder / f"{app.replace(':', '-')}.log"
        command = [sys.executable, "-m", "chatkit.cli", "serve", app, "--port", str(self.port), *options]
        env = clean_environment({"PYTHONPATH": str(EXAMPLES), "ROOMS": str(folder / "rooms.db")})
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)

    def connect(self, path: str, subprotocols: list[Subprotocol] | None = None) -> ClientConnection:
        self.wait()
        return open_socket(f"ws://127.0.0.1:{self.port}{path}", subprotocols=subprotocols, open_timeout=LIMIT_S)

    def wait(self) -> None:
        while "Press Ctrl-C" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()

    def post(self, path: str, value: object) -> object:
        self.wait()
        request = Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(value).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=LIMIT_S) as response:
            return json.loads(response.read() or "null")


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """All applications, started side by side."""
    folder = tmp_path_factory.mktemp("examples")
    with ExitStack() as stack:
        servers = {app: stack.enter_context(serving(app, folder)) for app in APPS}
        yield servers.__getitem__


def read_texts(socket: ClientConnection, count: int) -> list[str | bytes]:
    return [socket.recv(LIMIT_S) for _ in range(count)]


@pytest.mark.parametrize("app", ["litestar_chat", "thirty_lines:app"])
def test_the_thirty_line_chat(serve: Callable[[str], Server], app: str) -> None:
    with serve(app).connect("/ws") as ann, serve(app).connect("/ws") as bob:
        for number in range(20):
            ann.send(str(number))
        assert read_texts(ann, 20) == read_texts(bob, 20) == [str(number) for number in range(20)]
    with serve(app).connect("/ws") as cat:
        assert read_texts(cat, 10) == [str(number) for number in range(10, 20)]
        cat.send("hello")
        assert read_texts(cat, 1) == ["hello"]


def test_publishing_from_http(serve: Callable[[str], Server]) -> None:
    server = serve("litestar_publish")
    with server.connect("/ops/ws") as reader:
        first = server.post("/ops", {"n": 1})
        server.post("/ops/later", {"n": 2})
        assert read_texts(reader, 2) == ['{"n": 1}', '{"n":2}']
        reader.send("thanks")
        assert read_texts(reader, 1) == ["thanks"]
    assert isinstance(first, dict)
    assert first["seq"] == 1
    request = Request(f"http://127.0.0.1:{server.port}/ops/events", headers={"Last-Event-ID": first["cursor"]})
    with urlopen(request, timeout=LIMIT_S) as stream:
        lines = [stream.readline().decode().strip() for _ in range(8)]
    assert [line for line in lines if line.startswith("data")] == ['data: {"n":2}', "data: thanks"]


def test_subscribing_by_hand(serve: Callable[[str], Server]) -> None:
    with serve("litestar_by_hand:app").connect("/") as socket:
        socket.send("say lobby hello there")
        assert json.loads(socket.recv(LIMIT_S)) == {"channel": "lobby", "seq": 1, "text": "hello there"}
        for line in ("join ops", "leave lobby", "say lobby unread", "say ops read"):
            socket.send(line)
        assert json.loads(socket.recv(LIMIT_S)) == {"channel": "ops", "seq": 1, "text": "read"}
        socket.send("leave ops")  # the last one
        with pytest.raises(ConnectionClosedOK):
            socket.recv(LIMIT_S)


def test_history_as_part_of_subscribing_and_by_hand(serve: Callable[[str], Server]) -> None:
    server = serve("litestar_history:app")
    with server.connect("/subscribed") as socket:
        for number in range(5):
            socket.send(str(number))
        assert read_texts(socket, 5) == ["0", "1", "2", "3", "4"]
    with server.connect("/subscribed") as subscribed, server.connect("/by-hand") as by_hand:
        subscribed.send("5")
        assert read_texts(subscribed, 4) == ["2", "3", "4", "5"]
        assert read_texts(by_hand, 3) == ["3", "4", "5"]


@pytest.mark.parametrize(
    ("app", "kept"),
    [
        ("litestar_backpressure:app", ["0", "1", "2"]),
        ("litestar_backpressure:dropleft_app", ["7", "8", "9"]),
    ],
)
def test_back_pressure(serve: Callable[[str], Server], app: str, kept: list[str]) -> None:
    with serve(app).connect("/") as socket:
        socket.send("10")
        assert json.loads(socket.recv(LIMIT_S)) == {"received": kept, "dropped": 7}
        with pytest.raises(ConnectionClosedOK):
            socket.recv(LIMIT_S)


def test_generated_handlers(serve: Callable[[str], Server]) -> None:
    server = serve("litestar_generated:app")
    server.post("/publish/foo", {"n": 1})
    with server.connect("/foo") as foo, server.connect("/bar") as bar:
        server.post("/publish/foo", {"n": 2})
        server.post("/publish/bar", {"n": 3})
        assert read_texts(foo, 2) == ['{"n":1}', '{"n":2}']
        assert read_texts(bar, 1) == ['{"n":3}']


def test_a_generated_handler_for_any_channel_with_a_guard(serve: Callable[[str], Server]) -> None:
    server = serve("litestar_generated:arbitrary_app")
    with pytest.raises(InvalidStatus):
        server.connect("/ws/foo")
    with server.connect("/ws/foo?token=secret") as foo:
        server.post("/publish/foo", {"n": 1})
        assert read_texts(foo, 1) == [b'{"n":1}']


@pytest.mark.parametrize(
    ("path", "sent", "answer"),
    [
        ("/text", "hello", "HELLO"),
        ("/thread", "abc", "cba"),
        ("/bytes", b"\x00\xff", b"\xff\x00"),
        ("/mixed", '{"a":1}', b'{"a":2}'),
        ("/dataclass", '{"x":1,"y":2}', '{"x":2,"y":1}'),
        ("/struct", '{"item":"tea"}', '{"confirmed":"thank you: 1 x tea"}'),
    ],
)
def test_listeners(serve: Callable[[str], Server], path: str, sent: str | bytes, answer: str | bytes) -> None:
    with serve("litestar_listeners:app").connect(path) as socket:
        for _ in range(3):
            socket.send(sent)
            assert socket.recv(LIMIT_S) == answer


def test_a_listener_accepts_as_it_likes(serve: Callable[[str], Server]) -> None:
    with serve("litestar_listeners:app").connect("/accepted", [Subprotocol("echo")]) as socket:
        assert socket.subprotocol == "echo"
        assert socket.response is not None
        assert socket.response.headers["X-Server"] == "chatkit"
        socket.send("hello")
        assert socket.recv(LIMIT_S) == "/accepted: hello"


def test_a_listener_as_a_class(serve: Callable[[str], Server]) -> None:
    with serve("litestar_listeners:app").connect("/class") as socket:
        assert socket.recv(LIMIT_S) == "welcome"
        socket.send("[1, 2, 3]")
        assert socket.recv(LIMIT_S) == "6"


def test_streams(serve: Callable[[str], Server]) -> None:
    server = serve("litestar_streams:app")
    with server.connect("/count") as counting:
        assert read_texts(counting, 3) == ["0", "1", "2"]
    with server.connect("/events") as events, server.connect("/chat") as chat:
        assert read_texts(events, 1) == ["subscribed"]
        chat.send("both read this")
        assert read_texts(chat, 1) == read_texts(events, 1) == ["both read this"]


@pytest.mark.filterwarnings("ignore:.*Inferred dependency field:DeprecationWarning")  # as Litestar documents channels
def test_comparing_with_litestars_own_channels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(EXAMPLES / "compare_channels.py")
    monkeypatch.setattr(sys, "argv", [script, "--readers", "20", "--messages", "50"])
    monkeypatch.setenv("COMPARE_REDIS", "")  # which the script sets
    runpy.run_path(script, run_name="__main__")  # in this process, so that it forks the servers of chatkit
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4
    assert all("deliveries/s" in row for row in rows)


@pytest.mark.parametrize("app", ["no_such_module", "litestar_chat:nothing", "litestar_chat:__doc__", "json:"])
def test_an_invalid_application_is_reported(app: str) -> None:
    command = [sys.executable, "-m", "chatkit.cli", "serve", app]
    env = clean_environment({"PYTHONPATH": str(EXAMPLES)})
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert ended.returncode == 2
    assert "application" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_server_stops_while_an_iterator_waits(tmp_path: Path) -> None:
    with serving("litestar_publish", tmp_path) as server:
        server.wait()
        with ExitStack() as stack:
            stream = stack.enter_context(urlopen(f"http://127.0.0.1:{server.port}/ops/events", timeout=LIMIT_S))
            assert stream.readline() == b": open\r\n"
            reader = stack.enter_context(server.connect("/ops/ws"))
            server.process.terminate()
            assert server.process.wait(LIMIT_S) == 0
            assert "Cancel" not in server.log.read_text()
            with pytest.raises(ConnectionClosed) as ended:
                reader.recv(LIMIT_S)
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == 1012
