"""A custom page (`--page`): which files of the folder are served, and with which media types."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_client import call
from serving import ServerProcess, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("page")
    (folder / ".git").mkdir()
    (folder / "fonts").mkdir()
    for name in ("index.html", "app.mjs", "logo.png", "fonts/a.woff2", ".env", ".git/config", "chat.py"):
        (folder / name).write_text("theirs")
    (folder / "outside").symlink_to(Path(__file__))
    (folder / "circle").symlink_to(folder / "again")
    (folder / "again").symlink_to(folder / "circle")
    with serve("memory://", "--page", str(folder), folder=folder) as started:
        yield started


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html"),
        ("/static/index.html", "text/html"),
        ("/static/app.mjs", "text/javascript"),
        ("/static/logo.png", "image/png"),
        ("/static/fonts/a.woff2", "font/woff2"),
    ],
)
def test_a_file_is_served_with_its_media_type(server: ServerProcess, path: str, media_type: str) -> None:
    answer = call(server, "GET", path)
    assert (answer.status, answer.body) == (200, b"theirs")
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", [".env", ".git/config", "chat.py", "outside", "fonts", "nowhere", "circle", "circle/x", "../index.html"]
)
def test_hidden_files_source_files_and_paths_outside_the_folder_are_not_served(
    server: ServerProcess, name: str
) -> None:
    assert call(server, "GET", f"/static/{name}").status == 404
