"""Sessions in plain text: a frame from the client is a body, and messages are sent in the given format."""

import pytest
from harness import publish_all, until
from session_host import Host, hosted

from chatkit.core.model import Cursor
from chatkit.errors import BadRequest, ChatkitError, Unavailable
from chatkit.session.context import StartPosition
from chatkit.session.session import MAX_OUTSTANDING

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.mark.parametrize(
    ("form", "expected"), [("text", b"hi"), ("line", b"ann: hi"), ("json", b'{"room":"chat","seq":1,')]
)
def test_plain_text_is_published_and_delivered(form: str, expected: bytes) -> None:
    async def test(host: Host) -> None:
        client = await host.text(form=form)
        client.session.received_text(b"hi")
        await until(lambda: client.socket.texts)
        assert client.socket.texts[0].startswith(expected)
        client.session.received_text(b"x" * 1001)
        assert client.socket.texts[1] == b"! a body holds at most 1000 bytes"
        client.session.received_text("é\x00".encode())
        await until(lambda: len(client.socket.texts) == 3)

    hosted(test)


@pytest.mark.parametrize("form", ["text", "line", "json"])
def test_plain_text_starts_with_history_and_reports_gaps(form: str) -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(30))
        epoch = (await host.hub.history("ops")).head.epoch
        client = await host.text("ops", form=form)
        assert len(client.socket.texts) == 10
        await host.backend.trim(keep=3)
        late = await host.text("ops", form=form, start=StartPosition(after=Cursor(epoch, 4)))
        await until(lambda: late.socket.texts)
        if len(late.socket.texts) == 4:  # otherwise the room's tail would still have them
            assert late.socket.texts[0] in (
                b"! messages 5 to 27 are no longer kept",
                b'{"after":4,"before":28,"reason":"trimmed"}',
            )

    hosted(test)


def test_an_unknown_format_is_refused() -> None:
    async def test(host: Host) -> None:
        with pytest.raises(BadRequest, match="text, line, json"):
            await host.text("ops", form="xml")
        with pytest.raises(ChatkitError):
            await host.text("a b")

    hosted(test)


def test_plain_text_is_paused_and_notified_of_an_unavailable_store() -> None:
    async def test(host: Host) -> None:
        client = await host.text("ops")
        release = host.backend.hold("append")
        for _ in range(MAX_OUTSTANDING):
            client.session.received_text(b"hi")
        assert client.socket.is_paused
        host.backend.failures["append"] = Unavailable("away")
        release.set()
        await until(lambda: not client.socket.is_paused)
        await until(lambda: client.socket.texts.count(b"! away") == MAX_OUTSTANDING)

    hosted(test)
