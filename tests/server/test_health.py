"""`GET /health` when the store does not work."""

from pathlib import Path

import pytest
from access_server import access_server, problem
from harness import until
from raw_client import run

from chatkit.backends.sqlite import listener


def test_a_store_whose_file_was_removed_is_reported_and_accepts_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "FILE_CHECK_S", 0.02)

    async def test() -> None:
        path = tmp_path / "rooms.db"
        async with access_server(backend=f"sqlite:///{path}") as server:
            assert (await server.call("POST", "/rooms/ops/messages", body={"body": "x"})).status_code == 201
            path.unlink()
            await until(lambda: server.hub.fault)
            health = await server.call("GET", "/health")
            assert health.status_code == 503
            assert "was removed while it was in use" in health.json()["detail"]
            refused = await server.call("POST", "/rooms/ops/messages", body={"body": "y"})
            assert problem(refused) == (503, "unavailable")

    run(test())
