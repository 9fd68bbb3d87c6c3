"""The files of the page: addresses that change with the content, compression, and the client module for other pages."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient

from chatkit.backends.memory import MemoryBackend
from chatkit.core.hub import Hub
from chatkit.server.app import create_app
from chatkit.server.page import static_folder
from chatkit.server.page_files import PageFiles
from chatkit.server.settings import Settings

MAX_PAGE_BYTES = 80_000  # of everything that the first visit loads, compressed
SITE = "https://site.example"


@pytest.fixture(scope="module")
def files() -> PageFiles:
    return PageFiles(static_folder())


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:  # type: ignore[type-arg]  # of any application
    with TestClient(
        create_app(Settings(origins=(SITE,)), Hub(MemoryBackend())), base_url="http://127.0.0.1:8000"
    ) as client:
        yield client


def linked(page: str) -> list[str]:
    """Return the files that the page loads at once."""
    return re.findall(r'(?:href|src)="(static/[^"]+\.(?:js|css|svg))"', page)


def test_all_links_of_the_page_have_its_version_and_are_immutable(client: TestClient, files: PageFiles) -> None:  # type: ignore[type-arg]
    page = client.get("/")
    assert page.headers["cache-control"] == "no-cache"
    links = linked(page.text)
    assert f"static/{files.version}/app.js" in links
    for link in links:
        assert link.startswith(f"static/{files.version}/")
        answer = client.get(f"/{link}")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")


def test_the_page_preloads_each_module_that_it_imports(client: TestClient, files: PageFiles) -> None:  # type: ignore[type-arg]
    preloaded = re.findall(r'<link rel="modulepreload" href="static/\w+/([^"]+)">', client.get("/").text)
    assert preloaded == files.modules("app.js")
    assert {"app.js", "client.js", "relations.js", "views/log.js"} <= set(preloaded)
    assert "emoji.js" not in preloaded  # loaded when it is needed


def test_the_plain_names_stay_valid_and_are_not_kept(client: TestClient) -> None:  # type: ignore[type-arg]
    answer = client.get("/static/app.js")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert answer.content == (static_folder() / "app.js").read_bytes()


def test_a_page_of_another_version_gets_the_present_files_and_does_not_keep_them(client: TestClient) -> None:  # type: ignore[type-arg]
    answer = client.get("/static/0123456789abcdef/views/log.js")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert client.get("/static/0123456789abcdef/nothing.js").status_code == 404
    assert client.get("/static/0123456789abcdef/../pyproject.toml").status_code == 404


def test_files_are_compressed_for_clients_that_accept_it(client: TestClient, files: PageFiles) -> None:  # type: ignore[type-arg]
    path = f"/static/{files.version}/app.js"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = client.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 2


def test_a_first_visit_loads_less_than_80_kb(files: PageFiles) -> None:
    page = files.index.decode()
    names = dict.fromkeys(link.split("/", 2)[2] for link in linked(page))
    sizes = {name: len(files.compress(name)) for name in names}
    total = sum(sizes.values()) + len(files.compressed_index)
    assert total < MAX_PAGE_BYTES, sorted(sizes.items(), key=lambda item: -item[1])[:10]


def test_the_version_depends_on_names_and_contents(tmp_path: Path) -> None:
    versions = set()
    for name, text in (("a.js", "1"), ("a.js", "2"), ("b.js", "2")):
        folder = tmp_path / f"{name}{text}"
        folder.mkdir()
        (folder / name).write_text(text)
        versions.add(PageFiles(folder).version)
    assert len(versions) == 3


def test_comments_are_left_out_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    text = "/** One\n * comment. */\nconst a = 1; // kept: it shares its line\n  // gone\n/* kept */ f();\n/* gone */\n"
    (tmp_path / "a.js").write_text(text)
    found = PageFiles(tmp_path).get("a.js")
    assert found == b"\n\nconst a = 1; // kept: it shares its line\n\n/* kept */ f();\n\n"


def test_imports_are_found_in_each_form(tmp_path: Path) -> None:
    (tmp_path / "views").mkdir()
    (tmp_path / "a.js").write_text(
        'import { x } from "./b.js";\nimport {\n  y,\n} from "./views/c.js";\nawait import("./d.js");\n'
    )
    (tmp_path / "b.js").write_text('export { z } from "./e.js";\n')
    (tmp_path / "views/c.js").write_text('import "../b.js";\n')
    (tmp_path / "e.js").write_text("export const z = 1;\n")
    assert PageFiles(tmp_path).modules("a.js") == ["a.js", "b.js", "views/c.js", "e.js"]


def test_other_sites_import_the_client_if_they_are_allowed(client: TestClient, files: PageFiles) -> None:  # type: ignore[type-arg]
    for path in ("/client.js", f"/static/{files.version}/client.js", f"/static/{files.version}/session.js"):
        answer = client.get(path, headers={"Origin": SITE})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["access-control-allow-origin"] == SITE
        assert (
            "access-control-allow-origin" not in client.get(path, headers={"Origin": "https://other.example"}).headers
        )
    assert client.get("/client.js").text == f'export * from "./static/{files.version}/client.js";\n'


def test_content_with_the_same_tag_is_not_sent_again(client: TestClient, files: PageFiles) -> None:  # type: ignore[type-arg]
    for path in ("/", "/client.js", f"/static/{files.version}/app.js"):
        tag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_the_tag_of_the_compressed_page_is_that_of_the_page(files: PageFiles) -> None:
    assert gzip.decompress(files.compressed_index) == files.index
