"""Ten clients that change messages at random while their servers are killed agree with the store at the end."""

import asyncio
from pathlib import Path

import pytest
import stores
from serving import serve
from talk import KINDS, talk

STORES = {"SQLite": None, "Redis": stores.redis, "PostgreSQL": stores.postgres}


@pytest.mark.parametrize("store", STORES)
def test_all_clients_and_the_store_agree(tmp_path: Path, store: str) -> None:
    make = STORES[store]
    url = f"sqlite:///{tmp_path / 'rooms.db'}" if make is None else make()
    options = ("--rate-limit", "0")
    with serve(url, *options, folder=tmp_path) as one, serve(url, *options, folder=tmp_path) as two:
        report = asyncio.run(asyncio.wait_for(talk([one, two], tmp_path, 4.0, kill_every_s=1.2), 120))
        assert "Traceback" not in one.log + two.log
    assert {"edit", "react", "redact", "reply"} <= report.entries.keys()
    assert report.n_kills
    assert len(report.clients) == len(set(KINDS))
