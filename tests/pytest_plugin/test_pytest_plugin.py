"""The fixtures of the plugin: what a test can do with them, and the faults of their server."""

from pathlib import Path
from queue import SimpleQueue

import pytest
from raw_client import eventually

from chatkit.client import ConnectionLost, ConnectionRestored, SyncClient
from chatkit.core.model import Gap, Message
from chatkit.errors import Unavailable
from chatkit.pytest_plugin.chatkit_server import ChatkitServer
from chatkit.pytest_plugin.server_process import ServerFailedError

pytest_plugins = ["pytester"]

PATIENCE_S = 20  # bounds a test that would hang

TESTS = """
import asyncio
import pytest

@pytest.fixture(scope="module")
def seen(chatkit_server):
    chatkit_server.publish("ops", "first", name="ann", data=[1])
    return chatkit_server.publish("ops", "second", name="ann")

def test_a_client_reads_what_was_published(chatkit_client, seen):
    messages = chatkit_client.history("ops").messages
    assert [(each.sender, each.body) for each in messages] == [("ann", "first"), ("ann", "second")]
    assert (seen, chatkit_client.name) == (2, "test")

def test_an_asynchronous_client_has_the_name_and_the_same_server(chatkit_server):
    async def test():
        async with chatkit_server.client("bob", give_up_after_s=5) as client:
            return await client.publish("ops", "third")

    message = asyncio.run(test()).message
    assert (message.seq, message.sender) == (3, "bob")

def test_that_fails(chatkit_server):
    raise RuntimeError("as it should")
"""


def test_a_shared_server_has_the_options_of_its_marker_and_shows_its_log(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = --strict-markers\nchatkit_server_scope = module\n")
    pytester.makepyfile(f"import pytest\npytestmark = pytest.mark.chatkit_server('--backend', 'memory://')\n{TESTS}")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    result.assert_outcomes(passed=2, failed=1)
    output = result.stdout.str()
    assert output.count("Captured chatkit server call") == 1
    assert output.count("keeps rooms in memory://") == 1
    assert "Error" not in output.replace("RuntimeError", "")


def test_an_unknown_scope_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nchatkit_server_scope = test\n")
    pytester.makepyfile("def test_it(chatkit_server): pass")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*chatkit_server_scope is one of function, class, module, package, session*"])


def test_dropped_links_are_noticed_and_nothing_is_lost(chatkit_server: ChatkitServer) -> None:
    signals: SimpleQueue[object] = SimpleQueue()
    with SyncClient(chatkit_server.url, "ann", watcher=signals.put) as client:
        items = client.follow("ops", history=10)
        bodies: list[str] = []
        for number in range(3):
            chatkit_server.publish("ops", f"before {number}")
            bodies.append(body_of(next(items)))
            chatkit_server.drop_links()
            chatkit_server.publish("ops", f"after {number}")
            assert isinstance(signals.get(timeout=PATIENCE_S), ConnectionLost)
            bodies.append(body_of(next(items)))
            assert isinstance(signals.get(timeout=PATIENCE_S), ConnectionRestored)
        assert bodies == [f"{when} {number}" for number in range(3) for when in ("before", "after")]


def test_a_killed_server_comes_back_with_its_address_and_its_store(
    chatkit_server: ChatkitServer, chatkit_client: SyncClient
) -> None:
    url = chatkit_server.url
    chatkit_client.publish("ops", "before")
    chatkit_server.kill()
    with pytest.raises(Unavailable):
        chatkit_server.publish("ops", "lost")
    with pytest.raises(Unavailable):
        chatkit_client.history("ops")
    with pytest.raises(ServerFailedError, match="does not run"):
        chatkit_server.pause()
    chatkit_server.restart()
    assert chatkit_client.publish("ops", "after").message.seq == 2
    assert [each.body for each in chatkit_client.history("ops").messages] == ["before", "after"]
    assert chatkit_server.url == url


def test_a_full_disk_refuses_messages_until_it_is_freed_and_a_paused_server_waits(
    chatkit_server: ChatkitServer, chatkit_client: SyncClient
) -> None:
    chatkit_client.publish("ops", "before")
    chatkit_server.fill_disk()
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"rooms\.db"):
            chatkit_server.publish("ops", "x" * 10_000)
    assert [each.body for each in chatkit_client.history("ops").messages] == ["before"]
    chatkit_server.free_disk()
    assert chatkit_client.publish("ops", "after").message.seq == 2

    chatkit_server.pause()
    eventually(lambda: state_of(chatkit_server) == "T")
    chatkit_server.resume()
    assert chatkit_client.publish("ops", "resumed").message.seq == 3
    chatkit_server.pause()  # the end of the fixture does not wait for it


def body_of(item: Message | Gap) -> str:
    assert isinstance(item, Message)
    return item.body


def state_of(server: ChatkitServer) -> str:
    """Return the state of a process as the kernel shows it."""
    return Path(f"/proc/{server._process.pid}/stat").read_text().rpartition(") ")[2][0]
