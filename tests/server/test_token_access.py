"""Tokens: where requests and sockets may have them, what is refused without one, and that no log shows them."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest
from guarded_server import QUOTED, TOKEN, enter
from raw_client import Talk, call, eventually, open_socket, publish, run
from serving import ServerProcess, serve
from websockets.exceptions import ConnectionClosed

pytest_plugins = ["guarded_fixtures"]


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


@pytest.mark.parametrize("token", ["%ED%A0%80", "%FF", "%00", "", "%F0%9F%98%80", "x" * 8_000])
def test_a_malformed_token_is_answered_like_a_wrong_one(guarded: ServerProcess, token: str) -> None:
    assert call(guarded, "GET", f"/rooms?token={token}").problem == (401, "unauthorized")


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
        eventually(lambda: "/ws/ops?token=" in server.log)  # written when the socket has closed
        logged = server.log
        assert cookie not in logged
        assert "/rooms?limit=1&token=" in logged
        assert "sesame" not in logged
        assert "another-wrong-one" not in logged


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
    guarded: ServerProcess, unguarded: ServerProcess
) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = call(guarded, "GET", "/health", **headers)
        assert (answer.status, answer.json) == (200, {"status": "ok"})
    details = {"status", "version", "connections", "rooms", "subscriptions"}
    assert set(call(guarded, "GET", "/health", Authorization=f"Bearer {TOKEN}").json) == details
    assert set(call(unguarded, "GET", "/health").json) == details
    assert call(unguarded, "GET", "/health", Host="rebind.evil").json == {"status": "ok"}


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
