"""The channels core: rooms as append-only logs, readers as cursors that are woken. Knows no socket and no driver."""
