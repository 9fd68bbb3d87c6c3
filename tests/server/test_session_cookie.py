"""The session cookie: the link that sets it, its attributes, and the requests that may use it."""

import pytest
from guarded_server import QUOTED, TOKEN, enter
from raw_client import Talk, call, handshake, raw, read_head, run
from serving import ServerProcess

pytest_plugins = ["guarded_fixtures"]


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


@pytest.mark.parametrize("token", ["stale", "%ED%A0%80", "%0D%0AX-Evil:%201", "%F0%9F%98%80"])
def test_a_link_with_an_unneeded_token_redirects_to_the_page(unguarded: ServerProcess, token: str) -> None:
    answer = call(unguarded, "GET", f"/?token={token}")
    assert (answer.status, answer.headers["location"]) == (303, "./")
    assert "set-cookie" not in answer.headers
    assert "x-evil" not in answer.headers


def test_a_link_with_a_wrong_token_sets_no_cookie(guarded: ServerProcess) -> None:
    answer = call(guarded, "GET", "/?token=wrong-wrong")
    assert answer.status == 303
    assert "set-cookie" not in answer.headers


def test_a_link_that_may_replace_an_identity_leaves_the_question_to_the_page(
    guarded: ServerProcess, unguarded: ServerProcess
) -> None:
    answer = call(guarded, "GET", f"/?token={QUOTED}", Sec_Fetch_Site="cross-site")
    assert answer.status == 303
    assert answer.headers["location"] == f"./#token={QUOTED}"
    assert "set-cookie" not in answer.headers
    cookie = enter(guarded, Sec_Fetch_Site="none")
    again = enter(guarded, Cookie=f"{cookie.key}={cookie.value}", Sec_Fetch_Site="same-origin")
    assert again.value == cookie.value
    answer = call(unguarded, "GET", "/?token=any", Sec_Fetch_Site="cross-site")
    assert answer.headers["location"] == "./"


def test_a_page_of_another_origin_cannot_use_the_cookie(guarded: ServerProcess) -> None:
    cookie = enter(guarded)
    sent = f"{cookie.key}={cookie.value}"
    answer = call(guarded, "POST", "/rooms/ops/messages", "x", Cookie=sent, Origin="https://evil.example")
    assert answer.problem == (403, "forbidden")
    # When others can reach the server, even a page on the user's own machine is not trusted.
    answer = call(guarded, "POST", "/rooms/ops/messages", "x", Cookie=sent, Origin="http://localhost:5173")
    assert answer.problem == (403, "forbidden")
