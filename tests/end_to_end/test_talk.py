"""Clients of all kinds that change messages at random while servers are killed agree with the store at the end."""

import asyncio
from pathlib import Path

import pytest
import stores
from serving import serve
from talk import KINDS, talk
from talkers.curl import CurlTalker
from talkers.join import JoinTalker
from talkers.node import NodeTalker
from talkers.python import PythonTalker

STORES = {"SQLite": None, "Redis": stores.redis, "PostgreSQL": stores.postgres}
SOME_KINDS = (PythonTalker, PythonTalker, PythonTalker, CurlTalker, NodeTalker, JoinTalker)  # the page costs most


@pytest.mark.parametrize("store", STORES)
def test_all_clients_and_the_store_agree(tmp_path: Path, store: str) -> None:
    make, kinds = STORES[store], KINDS if store == "SQLite" else SOME_KINDS
    url = f"sqlite:///{tmp_path / 'rooms.db'}" if make is None else make()
    options = ("--rate-limit", "0")
    with serve(url, *options, folder=tmp_path) as one, serve(url, *options, folder=tmp_path) as two:
        talking = talk([one, two], tmp_path, 4.0, kinds=kinds, kill_every_s=1.2)
        report = asyncio.run(asyncio.wait_for(talking, 240))
        assert "Traceback" not in one.log + two.log
    assert {"edit", "react", "redact", "reply"} <= report.entries.keys()
    assert report.n_kills
    assert report.clients.keys() == {kind.kind for kind in kinds}
