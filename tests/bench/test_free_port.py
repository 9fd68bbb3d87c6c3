"""Free ports: processes that start servers at the same time choose different ones."""

import os
import random
import socket

import pytest

from chatkit.bench.local.store import N_SHARES, PORTS, free_port


def test_processes_choose_from_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    for pid in range(os.getpid(), os.getpid() + 20):
        monkeypatch.setattr(os, "getpid", lambda: pid)  # noqa: B023 - it is called in this turn
        random.seed(1)  # as plugins for tests do, in every process
        chosen += {free_port() for _ in range(len(PORTS) // N_SHARES)}
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(PORTS)


def test_a_port_in_use_is_not_chosen() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] not in {free_port() for _ in range(len(PORTS) // N_SHARES)}


def test_a_process_without_a_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr("chatkit.bench.local.store.PORTS", range(port, port + N_SHARES))
        monkeypatch.setattr(os, "getpid", lambda: 0)
        with pytest.raises(OSError, match="all ports of this process are in use"):
            free_port()
