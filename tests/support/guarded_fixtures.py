"""Servers with a token, of which one is behind a proxy, and one that needs no token."""

from collections.abc import Iterator

import pytest
from guarded_server import TOKEN
from serving import ServerProcess, serve


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that others can reach."""
    folder = tmp_path_factory.mktemp("guarded")
    with serve(folder / "rooms.db", "--host", "0.0.0.0", "--secret", TOKEN, "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server behind a proxy, with public names."""
    origins = [f"--origin={url}" for url in ("https://chat.example", "https://both.example", "http://both.example")]
    with serve("memory://", "--secret", TOKEN, *origins, folder=tmp_path_factory.mktemp("site")) as started:
        yield started


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that only this machine can reach."""
    with serve(tmp_path_factory.mktemp("unguarded") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log
