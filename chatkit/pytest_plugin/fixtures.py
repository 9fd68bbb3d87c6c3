"""The fixtures and options of the plugin. Loaded by every run of pytest: it imports the rest when a test needs it."""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chatkit.client import SyncClient
    from chatkit.pytest_plugin.chatkit_server import ChatkitServer

SCOPES = ("function", "class", "module", "package", "session")
MARKER = "chatkit_server"
SCOPE = "chatkit_server_scope"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the setting of the scope."""
    parser.addini(SCOPE, f"scope of the fixture chatkit_server: {', '.join(SCOPES)}", default="function")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and check the setting of the scope."""
    config.addinivalue_line("markers", f"{MARKER}(*options): start the fixture's server with options of chatkit serve")
    if config.getini(SCOPE) not in SCOPES:
        raise pytest.UsageError(f"{SCOPE} is one of {', '.join(SCOPES)}")


def _scope(fixture_name: str, config: pytest.Config) -> str:  # noqa: ARG001 - pytest passes both by name
    return str(config.getini(SCOPE))


@pytest.fixture(scope=_scope)  # type: ignore[arg-type]  # a literal: it is checked
def chatkit_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["ChatkitServer"]:
    """Provide a real server on a free port of this machine, with an empty store. See `ChatkitServer`.

    Each test gets a server of its own, which takes about a second of processor time; the setting
    `chatkit_server_scope` shares it among tests. The marker `chatkit_server` gives options of `chatkit serve`.
    """
    from chatkit.pytest_plugin.chatkit_server import serve_chat  # noqa: PLC0415 - only for who uses it

    marker = request.node.get_closest_marker(MARKER)
    with serve_chat(tmp_path_factory.mktemp("chatkit"), *(marker.args if marker else ())) as server:
        yield server


@pytest.fixture
def chatkit_client(chatkit_server: "ChatkitServer") -> Iterator["SyncClient"]:
    """Provide a client of `chatkit_server` whose calls block, with the name `test`."""
    from chatkit.client import SyncClient  # noqa: PLC0415 - only for who uses it

    with SyncClient(chatkit_server.url, "test") as client:
        yield client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of its server with a test that fails."""
    server = getattr(item, "funcargs", {}).get("chatkit_server") if call.excinfo is not None else None
    if server is not None:
        item.add_report_section(call.when, "chatkit server", server.log)
    return (yield)
