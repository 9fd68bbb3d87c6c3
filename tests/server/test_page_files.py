"""The files of the page: addresses that change with the content, compression, and the client module for other pages."""

import re
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from litestar.testing import TestClient

from chatkit.backends.memory import MemoryBackend
from chatkit.core.hub import Hub
from chatkit.server.app import create_app
from chatkit.server.page import static_folder
from chatkit.server.page_bundle import BundleError, bundle
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
    assert {f"static/{files.version}/page.js", f"static/{files.version}/page.css"} <= set(links)
    for link in links:
        assert link.startswith(f"static/{files.version}/")
        answer = client.get(f"/{link}")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")


def test_scripts_that_are_no_modules_are_in_the_page_and_allowed_by_their_digest(
    client: TestClient,  # type: ignore[type-arg]
) -> None:
    page = client.get("/")
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert "chatkit.theme" in script
    assert "chatkitEarly" in script
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in page.headers["content-security-policy"]
    assert "sha256" not in client.get("/static/app.js").headers["content-security-policy"]


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
    contents = {name: files.get(name) or b"" for name in (link.split("/", 2)[2] for link in linked(page))}
    sizes = {name: len(files.compress(content)) for name, content in {**contents, "/": files.index}.items()}
    assert sum(sizes.values()) < MAX_PAGE_BYTES, sizes
    assert sizes["page.js"] > 20_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small page."""
    (tmp_path / "index.html").write_text('<link rel="stylesheet" href="static/a.css">\n<script src="static/app.js">')
    (tmp_path / "a.css").write_text("a {}\n")
    (tmp_path / "app.js").write_text('import { connect } from "./client.js";\nconnect();\n')
    (tmp_path / "client.js").write_text("export function connect() {}\n")
    return tmp_path


def test_the_version_depends_on_names_and_contents(folder: Path) -> None:
    versions = {PageFiles(folder).version}
    for name, text in (("a.js", "1"), ("a.js", "2"), ("b.js", "2")):
        (folder / name).write_text(text)
        versions.add(PageFiles(folder).version)
    assert len(versions) == 4


def test_comments_are_left_out(folder: Path) -> None:
    text = "/** One\n * comment. */\nconst a = 1; // kept: it shares its line\n  // gone\n/* kept */ f();\n/* gone */\n"
    (folder / "a.js").write_text(text)
    assert PageFiles(folder).get("a.js") == b"const a = 1; // kept: it shares its line\n/* kept */ f();\n"


def test_other_sites_import_the_client_if_they_are_allowed(client: TestClient, files: PageFiles) -> None:  # type: ignore[type-arg]
    for path in ("/client.js", "/static/client.js", f"/static/{files.version}/client.js"):
        answer = client.get(path, headers={"Origin": SITE})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["access-control-allow-origin"] == SITE
        assert (
            "access-control-allow-origin" not in client.get(path, headers={"Origin": "https://other.example"}).headers
        )
    assert re.search(r"^export const \{ connect, Client, .*Store \}", client.get("/client.js").text, re.MULTILINE)
    assert not re.search(r"^import", client.get("/client.js").text, re.MULTILINE)


def test_content_with_the_same_tag_is_not_sent_again(client: TestClient, files: PageFiles) -> None:  # type: ignore[type-arg]
    for path in ("/", "/client.js", f"/static/{files.version}/app.js"):
        tag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 304


BUNDLED = {
    "app.js": 'import { b, c as d } from "./views/b.js";\nconst name = "a";\nconsole.log(name, b(), d);\n',
    "views/b.js": 'import {\n  Store,\n} from "../store.js";\nconst name = "b";\n'
    'export function b() {\n  return new Store(name).name;\n}\nexport { c } from "../c.js";\n',
    "c.js": 'export const c = "c";\n',
    "store.js": "export class Store {\n  constructor(name) {\n    this.name = name;\n  }\n}\n",
}


def run_module(text: str) -> str:
    ran = subprocess.run(["node", "--input-type=module", "-e", text], capture_output=True, text=True, check=True)
    return ran.stdout


def test_a_bundle_does_what_its_modules_do() -> None:
    assert run_module(bundle("app.js", BUNDLED, has_exports=False)) == "a b c\n"


def test_a_bundle_exports_what_its_main_module_exports() -> None:
    text = bundle("views/b.js", BUNDLED, has_exports=True)
    assert run_module(f"{text}\nconsole.log(b(), c);") == "b c\n"


def test_modules_that_are_loaded_on_demand_keep_their_place() -> None:
    modules = {
        "app.js": 'import { f } from "./views/f.js";\n',
        "views/f.js": 'export const f = () => import("../x.js");\n',
    }
    assert 'import("./x.js")' in bundle("app.js", modules, has_exports=False)


@pytest.mark.parametrize(
    "modules",
    [
        {"app.js": 'import { a } from "./a.js";\n', "a.js": 'import { b } from "./app.js";\n'},
        {"app.js": 'import { a } from "./a.js";\n'},
        {"app.js": 'import * as a from "./a.js";\n', "a.js": ""},
        {"app.js": "export default 1;\n"},
    ],
    ids=["cycle", "missing", "namespace", "default"],
)
def test_modules_that_cannot_be_joined_are_refused(modules: dict[str, str]) -> None:
    with pytest.raises(BundleError):
        bundle("app.js", modules, has_exports=False)
