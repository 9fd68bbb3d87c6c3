"""Applications of one process share their routes, and nothing else."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from chatkit.backends.memory import MemoryBackend
from chatkit.core.hub import Hub
from chatkit.server.app import create_app
from chatkit.server.settings import Settings

SITE = "https://site.example"
PREFLIGHT = {"origin": SITE, "access-control-request-method": "POST"}


@contextmanager
def clients(*settings: Settings) -> Iterator[list[TestClient[Litestar]]]:
    """Start applications, of which all run at the same time."""
    with ExitStack() as stack:
        apps = [create_app(each, Hub(MemoryBackend())) for each in settings]
        yield [stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000")) for app in apps]


def test_each_application_has_its_own_page_and_prefix(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("another page")
    with clients(Settings(), Settings(page=tmp_path, path_prefix="/chat")) as both:
        assert [client.get("/").text == "another page" for client in both] == [False, True]
        assert [client.get("/static/app.js").status_code for client in both] == [200, 404]
        assert [client.get("/chat/client.js").status_code for client in both] == [404, 200]
        servers = [client.get("/schema/openapi.json").json()["servers"][0]["url"] for client in both]
        assert servers == ["/", "/chat"]


def test_each_application_has_its_own_origins() -> None:
    with clients(Settings(), Settings(origins=(SITE,)), Settings()) as all_clients:
        allowed = [
            client.options("/rooms", headers=PREFLIGHT).headers.get("access-control-allow-origin")
            for client in all_clients
        ]
    assert allowed == [None, SITE, None]


def test_each_application_starts_and_ends_by_itself() -> None:
    events: list[str] = []

    def note(name: str, app: Litestar) -> Any:
        app.on_startup.append(lambda: events.append(f"{name} starts"))
        app.on_shutdown.append(lambda: events.append(f"{name} ends"))
        return TestClient(app)

    one, two = (create_app(Settings(), Hub(MemoryBackend())) for _ in range(2))
    with note("one", one):
        with note("two", two):
            pass
        assert events == ["one starts", "two starts", "two ends"]
    assert events[3:] == ["one ends"]
