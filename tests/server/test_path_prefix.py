"""A server at a path prefix, behind proxies that remove the prefix and proxies that do not."""

import json
from collections.abc import Iterator
from http.cookies import SimpleCookie

import pytest
from raw_client import Talk, call, open_socket, publish, run, stream
from serving import ServerProcess, serve

from chatkit.errors import BadRequest
from chatkit.server.settings import OWN_PATHS, Settings

TOKEN = "eight-or-more"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("prefix")
    with serve("memory://", "--path-prefix", "/team/chat/", "--secret", TOKEN, folder=folder) as started:
        yield started


@pytest.mark.parametrize("prefix", ["/team/chat", ""])
def test_every_endpoint_works_with_and_without_the_prefix(server: ServerProcess, prefix: str) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/static/app.js", "/schema", "/schema/openapi.json", "/health", "/rooms", "/rooms/a"):
        assert call(server, "GET", prefix + path, **bearer).status == 200, path
    assert call(server, "POST", f"{prefix}/rooms/a/messages", "hi", **bearer).status == 201
    assert call(server, "HEAD", f"{prefix}/rooms", **bearer).status == 200
    with stream(server, f"{prefix}/rooms/a/events?token={TOKEN}&history=1") as lines:
        assert any("hi" in event.get("data", "") for event in lines.events())

    async def test() -> None:
        async with Talk.open(server, f"{prefix}/ws/a?token={TOKEN}") as talk:
            assert (await talk.until("joined"))["room"] == "a"
        async with open_socket(server, f"{prefix}/nowhere") as opened:
            await opened.wait_closed()
            assert opened.close_code == 4404

    run(test())


def test_the_prefix_without_a_slash_redirects_and_keeps_the_query(server: ServerProcess) -> None:
    answer = call(server, "GET", f"/team/chat?token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (308, f"/team/chat/?token={TOKEN}")
    assert call(server, "GET", "/team/chatter").status == 404
    assert call(server, "GET", "/team").status == 404


def test_the_cookie_is_limited_to_the_prefix(server: ServerProcess) -> None:
    answer = call(server, "GET", f"/team/chat/?token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "./")
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert cookie.key == f"chatkit_{server.port}_team_chat"
    assert cookie["path"] == "/team/chat"
    assert call(server, "GET", "/team/chat/rooms", Cookie=f"{cookie.key}={cookie.value}").status == 200


def test_the_banner_and_the_openapi_document_have_the_prefix(server: ServerProcess) -> None:
    assert f"open      {server.url}/team/chat/" in server.log
    document = call(server, "GET", f"/team/chat/schema/openapi.json?token={TOKEN}").json
    assert document["servers"] == [{"url": "/team/chat"}]


def test_the_page_has_only_relative_links(server: ServerProcess) -> None:
    for path in ("/", "/schema"):
        answer = call(server, "GET", path, Authorization=f"Bearer {TOKEN}")
        assert answer.status == 200
        page = answer.body.decode()
        assert 'src="/' not in page
        assert 'href="/' not in page


def test_the_client_works_below_the_prefix(server: ServerProcess) -> None:
    class PrefixedServer:
        url = f"{server.url}/team/chat"
        ws_url = f"{server.ws_url}/team/chat"

    async def test() -> None:
        async with Talk.open(PrefixedServer(), f"/ws/b?token={TOKEN}") as talk:
            await talk.until("joined")
            await talk.send(op="publish", body="below")
            assert (await talk.until("message"))["body"] == "below"

    run(test())
    assert publish(server, "b", "x").status == 401
    assert json.loads(call(server, "GET", f"/rooms/b?token={TOKEN}").body)["last"] == 1


@pytest.mark.parametrize(
    ("given", "used"), [("", ""), ("/", ""), ("/chat", "/chat"), ("/chat/", "/chat"), ("/a/b", "/a/b")]
)
def test_a_final_slash_is_removed_from_the_prefix(given: str, used: str) -> None:
    assert Settings(path_prefix=given).path_prefix == used


@pytest.mark.parametrize(
    "prefix", ["chat", "/a//b", "/../x", "/./x", "/a b", "/a?b", "/a#b", "/ä", "/a%20", "/rooms", "/ws/x"]
)
def test_an_ambiguous_or_reserved_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(BadRequest, match="path-prefix"):
        Settings(path_prefix=prefix)


def test_the_first_part_of_every_path_of_the_server_is_reserved(server: ServerProcess) -> None:
    document = json.loads(call(server, "GET", f"/schema/openapi.json?token={TOKEN}").body)
    parts = {path.removeprefix("/team/chat").split("/")[1] for path in document["paths"]}
    assert parts - {""} <= OWN_PATHS
    assert {"client.js", "search", "ws"} <= OWN_PATHS
