"""Access: host names, web origins, tokens and session cookies."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from raw_client import Talk, call, handshake, open_socket, publish, raw, read_head, run
from serving import ServerProcess, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chatkit.errors import Forbidden
from chatkit.server.access import AccessPolicy
from chatkit.server.settings import Settings

TOKEN = "correct horse+battery/staple"  # with characters that links and cookies have to escape
QUOTED = "correct%20horse%2Bbattery%2Fstaple"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("access")
    with serve(folder / "rooms.db", "--rate-limit", "0", "--origin", "https://chat.example") as started:
        yield started
        assert "Traceback" not in started.log, started.log


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that others can reach."""
    folder = tmp_path_factory.mktemp("guarded")
    with serve(folder / "rooms.db", "--host", "0.0.0.0", "--secret", TOKEN, "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


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


# Host


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


# Tokens


def test_reading_and_writing_need_the_token(guarded: ServerProcess) -> None:
    for method, path in (
        ("GET", "/rooms"),
        ("GET", "/rooms/ops"),
        ("GET", "/rooms/ops/messages"),
        ("GET", "/rooms/ops/events"),
        ("GET", "/rooms/ops/members"),
        ("POST", "/rooms/ops/messages"),
        ("DELETE", "/rooms/ops/messages/1"),
    ):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "chatkit_8000=wrong"}):
            answer = call(guarded, method, path, "x" if method == "POST" else None, **headers)
            assert answer.problem == (401, "unauthorized"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert call(guarded, "GET", "/health").status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_is_accepted_in_the_header_and_in_the_query(guarded: ServerProcess, scheme: str) -> None:
    assert call(guarded, "POST", "/rooms/ops/messages", "x", Authorization=f"{scheme} {TOKEN}").status == 201
    assert call(guarded, "GET", f"/rooms/ops?token={QUOTED}").status == 200


@pytest.mark.parametrize("token", ["%ED%A0%80", "%FF", "%00", "", "%F0%9F%98%80", "x" * 10_000])
def test_a_malformed_token_is_answered_like_a_wrong_one(guarded: ServerProcess, token: str) -> None:
    assert call(guarded, "GET", f"/rooms?token={token}").problem == (401, "unauthorized")


def enter(server: ServerProcess, path: str = f"/?token={QUOTED}", **headers: str) -> Morsel[Any]:
    """Open the link with the token; return the cookie that it sets."""
    answer = call(server, "GET", path, **headers)
    assert (answer.status, answer.headers["location"]) == (303, "./")
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return cookie


def test_the_link_sets_a_cookie_that_scripts_cannot_read_and_removes_the_token_from_the_url(
    guarded: ServerProcess,
) -> None:
    cookie = enter(guarded)
    assert cookie.key == f"chatkit_{guarded.port}"
    assert (cookie["path"], cookie["secure"]) == ("/", "")
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "strict"
    assert TOKEN not in cookie.value
    assert QUOTED not in cookie.value
    sent = f"{cookie.key}={cookie.coded_value}"
    assert call(guarded, "GET", "/rooms", Cookie=sent).status == 200
    assert call(guarded, "GET", "/", Cookie=sent).status == 200
    assert call(guarded, "GET", "/rooms", Authorization=f"Bearer {cookie.value}").status == 401

    async def test() -> None:
        async with Talk.open(guarded, "/ws/ops", additional_headers={"Cookie": sent}) as talk:
            await talk.until("joined")

    run(test())


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [
        ({"X_Forwarded_Proto": "https"}, True),
        ({"X_Forwarded_Proto": "HTTPS, http"}, True),
        ({"X_Forwarded_Proto": "http"}, False),
        ({"Host": "chat.example"}, True),
        ({"Host": "Chat.Example"}, True),
        ({"Host": "both.example"}, False),
        ({}, False),
    ],
)
def test_the_cookie_is_secure_if_the_browser_used_tls(
    site: ServerProcess, headers: dict[str, str], is_secure: bool
) -> None:
    assert bool(enter(site, **headers)["secure"]) is is_secure


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server behind a proxy, with public names."""
    origins = [f"--origin={url}" for url in ("https://chat.example", "https://both.example", "http://both.example")]
    with serve("memory://", "--secret", TOKEN, *origins, folder=tmp_path_factory.mktemp("site")) as started:
        yield started


def test_servers_that_share_a_secret_behind_one_address_accept_each_others_cookies(
    site: ServerProcess, guarded: ServerProcess
) -> None:
    cookie = enter(site)
    assert call(guarded, "GET", "/rooms", Cookie=f"{cookie.key}={cookie.value}").status == 200


@pytest.mark.parametrize(
    "before", ['prefs={"a":1, "b":[2]}', "a=b c", 'x="unended', "=", "\u00e9=1", "a@b=c", "noequals"]
)
def test_the_cookies_of_other_programs_do_not_hide_the_session_cookie(guarded: ServerProcess, before: str) -> None:
    cookie = enter(guarded)
    sent = f'chatkit_1=of-another-port; {before}; {cookie.key}={cookie.value}; after="2|1:0|10:17"'
    assert call(guarded, "GET", "/rooms", Cookie=sent).status == 200
    with raw(guarded) as opened:
        opened.sendall(handshake("/ws/ops").replace(b"\r\n\r\n", f"\r\nCookie: {sent}\r\n\r\n".encode("latin-1")))
        head, rest = read_head(opened)
        assert b" 101 " in head
        assert call(guarded, "POST", "/rooms/ops/messages", "hi", Cookie=sent).status == 201
        assert (rest or opened.recv(4_096))[:1] == b"\x81"  # a text frame, not a close


def test_tokens_are_not_logged(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def test(server: ServerProcess) -> None:
        for token in ("sesame-sesame", "another-wrong-one"):
            async with open_socket(server, f"/ws/ops?token={token}&history=0") as opened:
                with suppress(ConnectionClosed):
                    await opened.send("x")

    folder = tmp_path_factory.mktemp("logged")
    with serve(folder / "rooms.db", "--secret", "sesame-sesame", "--log-level", "debug") as server:
        call(server, "GET", "/rooms?limit=1&token=sesame-sesame&x=1")
        call(server, "GET", "/rooms", Authorization="Bearer sesame-sesame", Cookie="chatkit_8000=sesame-sesame")
        cookie = call(server, "GET", "/?token=sesame-sesame").headers["set-cookie"].partition("=")[2].partition(";")[0]
        call(server, "GET", "/rooms?%74oken=sesame-sesame&toke%6E=another-wrong-one&%2574oken=another-wrong-one")
        call(server, "GET", f"/rooms?x={cookie}")
        call(server, "GET", "/rooms?token=it's\"sesame-sesame&x=2")
        run(test(server))
        logged = server.log
        assert cookie not in logged
        assert "/rooms?limit=1&token=" in logged
        assert "/ws/ops?token=" in logged
        assert "sesame" not in logged
        assert "another-wrong-one" not in logged


@pytest.mark.parametrize("token", ["stale", "%ED%A0%80", "%0D%0AX-Evil:%201", "%F0%9F%98%80"])
def test_a_link_with_an_unneeded_token_redirects_to_the_page(server: ServerProcess, token: str) -> None:
    answer = call(server, "GET", f"/?token={token}")
    assert (answer.status, answer.headers["location"]) == (303, "./")
    assert "set-cookie" not in answer.headers
    assert "x-evil" not in answer.headers


def test_a_link_with_a_wrong_token_sets_no_cookie(guarded: ServerProcess) -> None:
    answer = call(guarded, "GET", "/?token=wrong-wrong")
    assert answer.status == 303
    assert "set-cookie" not in answer.headers


def test_a_page_of_another_origin_cannot_use_the_cookie(guarded: ServerProcess) -> None:
    cookie = enter(guarded)
    sent = f"{cookie.key}={cookie.value}"
    answer = call(guarded, "POST", "/rooms/ops/messages", "x", Cookie=sent, Origin="https://evil.example")
    assert answer.problem == (403, "forbidden")
    # When others can reach the server, even a page on the user's own machine is not trusted.
    answer = call(guarded, "POST", "/rooms/ops/messages", "x", Cookie=sent, Origin="http://localhost:5173")
    assert answer.problem == (403, "forbidden")


def test_a_websocket_without_a_token_is_closed_with_4401(guarded: ServerProcess) -> None:
    async def test() -> None:
        for path in ("/ws/ops", "/ws/ops?token=wrong", "/ws"):
            for subprotocols in (None, ["chatkit.v1"]):
                async with open_socket(guarded, path, subprotocols=subprotocols) as opened:
                    await opened.wait_closed()
                    assert opened.close_code == 4401
                    assert opened.close_reason
        async with Talk.open(guarded, f"/ws/ops?token={QUOTED}") as talk:
            await talk.until("joined")
        async with Talk.open(guarded, "/ws/ops", additional_headers={"Authorization": f"Bearer {TOKEN}"}) as talk:
            await talk.until("joined")

    run(test())


def test_messages_sent_before_the_refusal_are_not_published(guarded: ServerProcess) -> None:
    async def test() -> None:
        async with open_socket(guarded, "/ws/sneak") as opened:
            for _ in range(5):
                try:
                    await opened.send("let me in")
                except ConnectionClosed:
                    break
            await opened.wait_closed()
            assert opened.close_code == 4401

    run(test())
    assert call(guarded, "GET", f"/rooms/sneak?token={QUOTED}").json["last"] == 0


@pytest.mark.parametrize("options", [(), ("--log-json",)])
def test_a_server_that_others_can_reach_makes_a_token_and_writes_it_to_a_private_file(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Standard error is not a terminal here, so the token must not be printed."""
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    with serve(tmp_path / "rooms.db", "--host", "0.0.0.0", *options, env=env) as started:
        file = tmp_path / "data" / "chatkit" / f"token-{started.port}"
        token = file.read_text().strip()
        assert len(token) >= 20
        assert file.stat().st_mode & 0o777 == 0o600
        assert str(file) in started.log
        assert token not in started.log
        assert f"http://{socket.gethostname()}:{started.port}/" in started.log
        assert call(started, "GET", "/rooms").problem == (401, "unauthorized")
        # The banner names this machine, so the server must accept that name as its own.
        host = f"{socket.gethostname()}:{started.port}"
        answer = call(started, "GET", f"/?token={token}", Host=host)
        assert (answer.status, "set-cookie" in answer.headers) == (303, True)
        answer = call(started, "POST", f"/rooms/a/messages?token={token}", "x", Host=host, Origin=f"http://{host}")
        assert answer.status == 201


# Requests without access


def test_health_without_a_token_shows_the_status_and_nothing_else(
    guarded: ServerProcess, server: ServerProcess
) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = call(guarded, "GET", "/health", **headers)
        assert (answer.status, answer.json) == (200, {"status": "ok"})
    details = {"status", "version", "connections", "rooms", "subscriptions"}
    assert set(call(guarded, "GET", "/health", Authorization=f"Bearer {TOKEN}").json) == details
    assert set(call(server, "GET", "/health").json) == details
    assert call(server, "GET", "/health", Host="rebind.evil").json == {"status": "ok"}


def test_api_answers_are_not_cached_and_not_sniffed(guarded: ServerProcess) -> None:
    for path in ("/rooms", "/rooms/a", "/rooms/a/messages", "/rooms/a/members", "/health", "/nothing"):
        for headers in ({"Authorization": f"Bearer {TOKEN}"}, {}):
            answer = call(guarded, "GET", path, **headers)
            assert answer.headers["cache-control"] == "no-store", path
            assert answer.headers["x-content-type-options"] == "nosniff", path


def test_wrong_tokens_are_limited_by_address_on_every_endpoint_and_logged_once(tmp_path: Path) -> None:
    async def guess_by_websocket(server: ServerProcess) -> None:
        async with open_socket(server, "/ws/ops?token=guess") as opened:
            await opened.wait_closed()
            assert opened.close_code == 4508

    with serve(tmp_path / "rooms.db", "--secret", TOKEN) as server:
        cookie = enter(server, X_Forwarded_For="192.0.2.9")
        statuses = [call(server, "GET", "/rooms", Authorization=f"Bearer guess{n}").status for n in range(40)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        refused = call(server, "GET", "/rooms?token=guess")
        assert refused.problem == (429, "rate-limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert call(server, "GET", "/?token=guess").status == 429
        assert call(server, "GET", f"/rooms?token={QUOTED}").status == 429, "a correct guess must get the same answer"
        run(guess_by_websocket(server))
        assert call(server, "GET", "/rooms", Cookie=f"{cookie.key}={cookie.value}").status == 200
        assert call(server, "GET", f"/rooms?token={QUOTED}", X_Forwarded_For="10.9.9.9, 192.0.2.7").status == 200
        assert server.log.count("wrong tokens") == 1


def test_open_needs_no_token_and_prints_a_warning(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serve(tmp_path_factory.mktemp("open") / "rooms.db", "--host", "0.0.0.0", "--open") as started:
        assert "Warning: --open" in started.log
        assert "token=" not in started.log
        assert publish(started, "a", "x").status == 201


def test_the_page_has_security_headers(server: ServerProcess) -> None:
    answer = call(server, "GET", "/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


# The access policy alone


def test_the_host_option_is_a_name_of_this_server() -> None:
    policy = AccessPolicy(Settings(host="Chat.internal"))
    policy.check_host("chat.internal:8000")
    with pytest.raises(Forbidden):
        policy.check_host("other.internal:8000")
    with pytest.raises(Forbidden):
        policy.check_host(None)
