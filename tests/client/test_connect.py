"""How the client reaches a server: proxies, certificates, redirects and credentials, over HTTP and WebSockets alike."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from raw_server import WELCOME, RawServer, answer, connect_proxy, event_frame, handshake, header, socks_proxy

from chatkit.client import Client
from chatkit.client.connect import Proxy, proxy_for, redirected, tls_context
from chatkit.client.endpoint import Endpoint
from chatkit.errors import BadRequest, ChatkitError, Unavailable

ACK = {
    "type": "ack",
    "room": "ops",
    "seq": 1,
    "cursor": "e:1",
    "repeat": False,
    "ref": 1,
    "time": "2026-11-20T11:47:21Z",
}
PATIENCE_S = 30  # bounds a test that would hang; none waits for it


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "socks", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, PATIENCE_S))


def respond(head: str) -> bytes:
    """Answer as a chatkit server with no rooms, which accepts one message."""
    if header(head, "Upgrade"):
        return handshake(head, WELCOME)
    return answer(200, {"rooms": []})


def chat_server() -> RawServer:
    return RawServer(respond, [event_frame(ACK)], lasts_s=1)


async def list_rooms(client: Client) -> None:
    await client.rooms()


async def publish(client: Client) -> None:
    await client.publish("ops", "hi")


both = pytest.mark.parametrize("call", [list_rooms, publish])
Call = Callable[[Client], Awaitable[None]]


def redirecting(location: str, status: int = 301) -> RawServer:
    def respond_with_redirect(head: str) -> bytes:
        target = head.split(" ")[1]
        return answer(status, b"", f"Location: {location.replace('TARGET', target)}")

    return RawServer(respond_with_redirect)


@both
def test_a_redirect_on_the_same_host_is_followed(call: Call) -> None:
    async def test() -> None:
        async with chat_server().running() as server, redirecting(f"{server.url}TARGET").running() as old:
            async with Client(old.url, "ann") as client:
                await call(client)
            assert len(old.heads) == 1
            assert "/rooms " in server.heads[0] or "/ws?name=ann " in server.heads[0]

    run(test())


@both
@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("http://other.example:9TARGET", "redirects to http://other.example:9, which is not followed"),
        ("http://127.0.0.1:9/login", "which is not the address of a chatkit server"),
        ("http://[", "which is not the address of a chatkit server"),
        ("", "redirects more than 5 times"),
    ],
)
def test_a_redirect_elsewhere_is_refused_with_its_address(call: Call, location: str, sentence: str) -> None:
    async def test() -> None:
        async with redirecting(location).running() as old, Client(old.url) as client:
            with pytest.raises(ChatkitError, match=sentence):
                await call(client)

    run(test())


@both
def test_a_token_is_not_sent_to_another_port(call: Call) -> None:
    async def test() -> None:
        async with chat_server().running() as server, redirecting(f"{server.url}TARGET").running() as old:
            async with Client(old.url, token="secret") as client:
                with pytest.raises(ChatkitError, match=f"redirects to {server.url}, which is not followed"):
                    await call(client)
            assert server.heads == []

    run(test())


@pytest.mark.parametrize(
    ("method", "status", "is_followed"),
    [("GET", 302, True), ("POST", 301, False), ("POST", 303, False), ("POST", 308, True), ("DELETE", 307, True)],
)
def test_only_a_redirect_that_keeps_the_method_is_followed(method: str, status: int, is_followed: bool) -> None:
    old = Endpoint.parse("http://chat.example/a")
    location = "https://chat.example/b/rooms/ops?x=1"
    if is_followed:
        assert redirected(old, "/a/rooms/ops?limit=2", method, status, location).url == "https://chat.example:443/b"
    else:
        with pytest.raises(ChatkitError, match=r"https://chat\.example:443/b"):
            redirected(old, "/a/rooms/ops?limit=2", method, status, location)


def test_a_token_follows_a_redirect_to_tls_and_never_back() -> None:
    plain = Endpoint.parse("http://chat.example", token="secret")
    secure = redirected(plain, "/rooms", "GET", 301, "https://chat.example/rooms")
    assert (secure.is_secure, secure.port, secure.token) == (True, 443, "secret")
    with pytest.raises(ChatkitError, match="without TLS"):
        redirected(secure, "/rooms", "GET", 301, "http://chat.example/rooms")


def test_an_address_in_a_redirect_is_shown_without_secrets() -> None:
    old = Endpoint.parse("http://chat.example")
    with pytest.raises(ChatkitError) as refused:
        redirected(old, "/rooms", "GET", 302, "https://user:pass@sso.example/login?token=secret")
    assert "https://sso.example/login" in str(refused.value)
    assert not any(word in str(refused.value) for word in ("user", "pass", "secret"))


@both
def test_credentials_in_the_url_are_sent_as_basic_credentials(call: Call) -> None:
    async def test() -> None:
        async with chat_server().running() as server:
            async with Client(f"http://ann:p%40ss@127.0.0.1:{server.port}") as client:
                await call(client)
            assert header(server.heads[0], "Authorization") == "Basic YW5uOnBAc3M="

    run(test())


@pytest.mark.parametrize("url", ["http://ann:pass@127.0.0.1:99999", "ftp://ann:pass@host/?token=secret", "x:pass@["])
def test_a_sentence_about_a_url_contains_no_credentials(url: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Endpoint.parse(url)
    assert not any(word in str(refused.value) for word in ("pass", "secret"))


def test_credentials_in_the_url_exclude_a_token() -> None:
    with pytest.raises(BadRequest, match="remove the other"):
        Endpoint.parse("http://ann:pass@127.0.0.1", token="secret")


@both
def test_a_proxy_carries_http_and_websockets(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with chat_server().running() as server, connect_proxy(server.port) as (port, heads):
            monkeypatch.setenv("http_proxy", f"http://ann:p%40ss@127.0.0.1:{port}")
            async with Client("http://chat.invalid:8000") as client:
                await call(client)
            assert heads[0].startswith("CONNECT chat.invalid:8000 HTTP/1.1\r\n")
            assert header(heads[0], "Proxy-Authorization") == "Basic YW5uOnBAc3M="
            assert len(server.heads) == 1

    run(test())


@both
def test_a_proxy_that_refuses_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with connect_proxy(9, refuse_with=407) as (port, _):
            monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
            async with Client("https://chat.invalid") as client:
                with pytest.raises(Unavailable, match=f"the proxy http://127.0.0.1:{port} does not connect .* 407"):
                    await call(client)

    run(test())


@both
@pytest.mark.parametrize(
    ("proxy", "sentence"),
    [
        ("socks5://127.0.0.1:1080", "needs the package python-socks"),
        ("https://127.0.0.1:1080", "https:// is not supported"),
        ("http://127.0.0.1:x", "cannot be used: its address has the form"),
        ("http://", "cannot be used: its address has the form"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused(
    call: Call, proxy: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setitem(sys.modules, "python_socks", None)  # as where it is not installed
        monkeypatch.setenv("all_proxy", proxy)
        async with Client("http://chat.invalid") as client:
            with pytest.raises(BadRequest, match=sentence):
                await call(client)

    run(test())


@both
@pytest.mark.parametrize("scheme", ["socks5h", "socks5"])
def test_a_socks_proxy_carries_http_and_websockets(call: Call, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = "chat.invalid" if scheme == "socks5h" else "192.0.2.1"  # this client looks up names for socks5

    async def test() -> None:
        async with chat_server().running() as server, socks_proxy(server.port) as (port, asked):
            monkeypatch.setenv("all_proxy", f"{scheme}://ann:p%40ss@127.0.0.1:{port}")
            async with Client(f"http://{host}:8000") as client:
                await call(client)
            assert asked == [("ann", "p@ss", host, 8000)]
            assert len(server.heads) == 1

    run(test())


@both
def test_a_socks_proxy_that_refuses_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with socks_proxy(9, reply=2) as (port, _):
            monkeypatch.setenv("all_proxy", f"socks5h://127.0.0.1:{port}")
            async with Client("http://chat.invalid") as client:
                with pytest.raises(Unavailable, match=r"chat\.invalid"):
                    await call(client)

    run(test())


def test_the_proxy_is_chosen_by_scheme_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "plain:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://secure")
    monkeypatch.setenv("no_proxy", "near.example,.inside.example")

    def chosen(url: str) -> Proxy | None:
        return proxy_for(Endpoint.parse(url))

    assert chosen("http://far.example") == Proxy("http", "plain", 3128, "http://plain:3128")
    assert chosen("ws://far.example") == chosen("http://far.example")
    assert chosen("https://far.example") == Proxy("http", "secure", 80, "http://secure:80")
    assert chosen("http://near.example") is None
    assert chosen("https://chat.inside.example") is None
    assert chosen("http://localhost:8000") is None


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    return folder


@both
def test_an_authority_in_ssl_cert_file_is_trusted(
    call: Call, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")

    async def test() -> None:
        async with chat_server().running(tls) as server:
            url = f"https://127.0.0.1:{server.port}"
            async with Client(url) as client:
                with pytest.raises(Unavailable, match=r"is not trusted: .* SSL_CERT_FILE"):
                    await call(client)
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "certificate.pem"))
            async with Client(url) as client:
                await call(client)

    run(test())


def test_certificate_settings_that_name_nothing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path, reason in ((empty, "not a PEM file"), (tmp_path / "missing.pem", "No such file")):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(BadRequest, match=f"SSL_CERT_FILE cannot be used: .*{reason}"):
            tls_context()
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    with pytest.raises(BadRequest, match="SSL_CERT_DIR cannot be used"):
        tls_context()
