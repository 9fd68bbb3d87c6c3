"""The access policy: host names, web origins and the headers of the page."""

import json
from collections.abc import Iterator

import pytest
from raw_client import call, handshake, open_socket, raw, read_head, run
from serving import ServerProcess, serve
from websockets.exceptions import InvalidStatus

from chatkit.errors import Forbidden
from chatkit.server.access import AccessPolicy
from chatkit.server.settings import Settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("access")
    with serve(folder / "rooms.db", "--rate-limit", "0", "--origin", "https://chat.example") as started:
        yield started
        assert "Traceback" not in started.log, started.log


# Host


def hosts_of(server: ServerProcess) -> dict[str, int]:
    """Return values of the Host header, each with the status that a request with it gets."""
    port = server.port
    return {
        f"127.0.0.1:{port}": 200,
        f"localhost:{port}": 200,
        f"LOCALHOST:{port}": 200,
        "localhost": 200,
        "app.localhost": 200,
        f"[::1]:{port}": 200,
        "192.0.2.7": 200,
        "[2001:db8::7]:80": 200,
        "chat.example": 200,
        "chat.example:8443": 200,
        f"rebind.evil:{port}": 403,
        "localhost.evil": 403,
        "127.0.0.1.evil": 403,
        "evil.chat.example": 403,
        "[::1": 403,
        "]": 403,
        "a@localhost@evil": 403,
        ":80": 403,
    }


def test_a_host_that_is_not_this_server_is_refused(server: ServerProcess) -> None:
    for host, status in hosts_of(server).items():
        for path in ("/rooms", "/rooms/ops", "/rooms/ops/messages", "/"):
            answer = call(server, "GET", path, Host=host)
            assert answer.status == status, (host, path, answer)
            if status == 403:
                assert answer.problem == (403, "forbidden")


def test_a_websocket_with_another_host_is_refused_with_the_reason(server: ServerProcess) -> None:
    for host, status in hosts_of(server).items():
        with raw(server) as opened:
            opened.sendall(handshake("/ws/ops").replace(b"Host: 127.0.0.1", b"Host: " + host.encode("latin-1")))
            head, rest = read_head(opened)
            got = int(head.split()[1])
            assert got == (101 if status == 200 else status) or (status == 403 and got == 400), (host, head)
            if got == 403:
                assert b"application/problem+json" in head
                assert json.loads(rest or opened.recv(4096))["code"] == "forbidden"


def test_the_host_option_is_a_name_of_this_server() -> None:
    policy = AccessPolicy(Settings(host="Chat.internal"))
    policy.check_host("chat.internal:8000")
    with pytest.raises(Forbidden):
        policy.check_host("other.internal:8000")
    with pytest.raises(Forbidden):
        policy.check_host(None)


# Origin


def origins_of(server: ServerProcess) -> dict[str, bool]:
    """Return origins of pages, each with whether it may use the server."""
    return {
        server.url: True,
        "http://localhost:5173": True,
        "https://LOCALHOST": True,
        "http://[::1]:3000": True,
        "https://chat.example": True,
        "HTTPS://Chat.Example": True,
        "null": False,
        "": False,
        "https://evil.example": False,
        "http://chat.example": False,
        "https://chat.example.evil": False,
        "https://chat.example:444": False,
        "http://localhost.evil": False,
        "http://127.0.0.1.evil": False,
        "http://[": False,
        "file://": False,
        "chrome-extension://abcdef": False,
    }


def test_pages_of_other_origins_may_not_write(server: ServerProcess) -> None:
    for origin, is_allowed in origins_of(server).items():
        published = call(server, "POST", "/rooms/origin/messages", "x", Origin=origin, Content_Type="text/plain")
        redacted = call(server, "DELETE", "/rooms/origin/messages/1", Origin=origin)
        assert (published.status, redacted.status) == ((201, 200) if is_allowed else (403, 403)), origin
        if not is_allowed:
            assert published.problem == redacted.problem == (403, "forbidden")


def test_a_request_without_an_origin_is_allowed(server: ServerProcess) -> None:
    assert call(server, "POST", "/rooms/program/messages", "x").status == 201


def test_pages_of_other_origins_cannot_read_the_answers(server: ServerProcess) -> None:
    answer = call(server, "GET", "/rooms/ops/messages", Origin="https://evil.example")
    assert not {"access-control-allow-origin", "access-control-allow-credentials"} & answer.headers.keys()


def test_pages_of_an_allowed_origin_can_read_the_answers(server: ServerProcess) -> None:
    allowed = "https://chat.example"
    for answer in (
        call(server, "POST", "/rooms/cors/messages", "x", Origin=allowed),
        call(server, "GET", "/rooms/cors/messages", Origin=allowed),
        call(server, "GET", "/rooms/.cors", Origin=allowed),
    ):
        assert answer.headers["access-control-allow-origin"] == allowed
        assert "access-control-allow-credentials" not in answer.headers
    requested: dict[str, str] = {
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization,content-type,idempotency-key",
    }
    preflight = call(server, "OPTIONS", "/rooms/cors/messages", Origin=allowed, **requested)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == allowed
    assert "POST" in preflight.headers["access-control-allow-methods"]
    for header in ("authorization", "content-type", "idempotency-key"):
        assert header in preflight.headers["access-control-allow-headers"].lower()
    for origin in ("https://chatxexample", "https://evil.example", "null"):
        preflight = call(server, "OPTIONS", "/rooms/cors/messages", Origin=origin, **requested)
        assert preflight.status == 400
        assert "access-control-allow-origin" not in preflight.headers


def test_pages_of_other_origins_may_not_open_a_websocket(server: ServerProcess) -> None:
    async def test() -> None:
        for origin, is_allowed in origins_of(server).items():
            if is_allowed:
                async with open_socket(server, "/ws/origins", origin=origin) as opened:
                    await opened.send(origin)
                    assert await opened.recv()
                continue
            with pytest.raises(InvalidStatus) as refused:
                async with open_socket(server, "/ws/origins", additional_headers={"Origin": origin}):
                    pass
            response = refused.value.response
            assert response.status_code == 403, origin
            assert response.headers["Content-Type"] == "application/problem+json"
            assert json.loads(response.body)["code"] == "forbidden"
            assert "--origin" in json.loads(response.body)["detail"]

    run(test())


# The page


def test_the_page_has_security_headers(server: ServerProcess) -> None:
    answer = call(server, "GET", "/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
