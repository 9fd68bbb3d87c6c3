"""What a server answers at an unknown host name or address: a page for browsers, a problem for programs."""

from collections.abc import Iterator

import pytest
from raw_client import call
from serving import ServerProcess, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve("memory://", folder=tmp_path_factory.mktemp("host")) as started:
        yield started


def test_a_browser_gets_a_page_that_names_the_option(server: ServerProcess) -> None:
    answer = call(server, "GET", "/", Host="chat.example:8000", Accept="text/html,*/*")
    assert answer.status == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert b"--origin http://chat.example:8000" in answer.body
    assert "script-src" not in answer.headers["content-security-policy"]  # the default is 'none'


def test_the_name_is_no_markup(server: ServerProcess) -> None:
    answer = call(server, "GET", "/", Host="<script>x</script>", Accept="text/html")
    assert answer.status in {400, 403}
    assert b"<script>" not in answer.body


def test_a_program_gets_a_problem(server: ServerProcess) -> None:
    answer = call(server, "GET", "/", Host="chat.example", Accept="application/json")
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/nothing", "/rooms/ops/nothing"])
def test_an_address_without_anything_has_a_page_for_browsers(server: ServerProcess, path: str) -> None:
    answer = call(server, "GET", path, Accept="text/html,*/*")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert b'<a href="/">chat</a>' in answer.body
    for method, accepted in (("GET", "*/*"), ("POST", "text/html")):
        answer = call(server, method, path, Accept=accepted)
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/problem+json"
