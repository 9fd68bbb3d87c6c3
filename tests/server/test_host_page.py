"""What a server answers at a host name that it does not know: a page for browsers, a problem for programs."""

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
