"""The HTTP API as a whole: unknown paths and methods, HEAD, OPTIONS, and connections that are kept."""

from collections.abc import Iterator

import pytest
from raw_client import call, eventually, get, health, raw, read_all
from serving import ServerProcess, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("http") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


def test_health_returns_ok_and_counts(server: ServerProcess) -> None:
    answer = get(server, "/health")
    assert answer.status == 200
    assert set(answer.json) == {"status", "version", "connections", "rooms", "subscriptions"}
    assert answer.json["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "problem"),
    [
        ("GET", "/nothing", (404, "not-found")),
        ("GET", "/rooms/a/b/c", (404, "not-found")),
        ("GET", "/static/../pyproject.toml", (404, "not-found")),
        ("GET", "/static/%2e%2e/pyproject.toml", (404, "not-found")),
        ("GET", "/static//etc/passwd", (404, "not-found")),
        ("GET", "/static/%00", (404, "not-found")),
        ("GET", f"/static/{'a' * 300}", (404, "not-found")),
        ("GET", "/static/__init__.py", (404, "not-found")),
        ("GET", "/static/.git/config", (404, "not-found")),
        ("GET", "/rooms/%FF", (400, "bad-room")),
        ("GET", "/rooms/%00", (400, "bad-room")),
        ("GET", f"/rooms/{'a' * 2_001}", (400, "bad-request")),
        ("GET", f"/rooms?prefix={'a' * 8_192}", (400, "bad-request")),
        ("GET", f"/rooms?{'a&' * 32}", (400, "bad-request")),
        ("GET", f"/?{'a&' * 32}", (400, "bad-request")),
        ("POST", f"/hooks/x?{'a&' * 32}", (400, "bad-request")),
        ("GET", f"/search?q=a&before=~{'W' * 1_400}", (400, "bad-cursor")),
        ("PUT", "/rooms/ops/messages", (405, "method-not-allowed")),
        ("POST", "/rooms", (405, "method-not-allowed")),
        ("PUT", "/rooms/ops", (405, "method-not-allowed")),
    ],
)
def test_unknown_paths_and_methods_are_answered_with_a_problem(
    server: ServerProcess, method: str, path: str, problem: tuple[int, str]
) -> None:
    assert call(server, method, path).problem == problem


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200),
        ("/rooms", 200),
        ("/rooms/head", 200),
        ("/rooms/head/messages", 200),
        ("/rooms/head/members", 200),
        ("/rooms/head/events", 200),
        ("/schema", 200),
        ("/", 200),
        ("/nothing", 404),
        ("/rooms/.head", 404),
        ("/rooms/head/messages/1", 404),
    ],
)
def test_head_is_answered_like_get_without_the_body(server: ServerProcess, path: str, status: int) -> None:
    with raw(server) as opened:
        opened.sendall(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 2)
        opened.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, again, last, rest = read_all(opened).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert again.startswith(b"HTTP/1.1 %d " % status)
    assert last.startswith(b"HTTP/1.1 200 ")
    assert not rest
    if path != "/rooms/head/events":
        assert f"content-length: {len(get(server, path).body)}".encode() in head
    eventually(lambda: health(server)["subscriptions"] == 0)


def test_a_refused_upload_does_not_harm_the_server(server: ServerProcess) -> None:
    with raw(server) as opened:
        opened.sendall(b"POST /rooms/ops/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\nxxx")
        opened.settimeout(5)
        assert b" 413 " in opened.recv(4096)
    assert health(server)["status"] == "ok"


def test_one_connection_serves_many_requests(server: ServerProcess) -> None:
    request = b"GET /rooms/never HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /rooms/never HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with raw(server) as opened:
        opened.sendall(request * 5 + last)
        assert read_all(opened).count(b"HTTP/1.1 200 OK") == 6


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/ws/ops"])
def test_a_websockets_address_asks_for_an_upgrade(server: ServerProcess, path: str) -> None:
    answer = call(server, "GET", path)
    assert answer.problem == (426, "bad-request")
    assert (answer.headers["upgrade"], answer.headers["connection"]) == ("websocket", "upgrade")
    assert call(server, "HEAD", path).status == 426
    assert call(server, "POST", path).headers["allow"] == "GET, HEAD, OPTIONS"
    assert call(server, "OPTIONS", path).headers["allow"] == "GET, HEAD, OPTIONS"


def test_options_of_the_whole_server_lists_its_methods(server: ServerProcess) -> None:
    paths = call(server, "GET", "/schema/openapi.json").json["paths"].values()
    methods = {name.upper() for path in paths for name in path if name in {"get", "post", "put", "patch", "delete"}}
    answer = call(server, "OPTIONS", "*")
    assert (answer.status, answer.headers["allow"]) == (204, ", ".join(sorted(methods | {"HEAD", "OPTIONS"})))
