"""The core: rooms as append-only logs, and readers as cursors that are woken. Knows no sockets and no drivers."""
