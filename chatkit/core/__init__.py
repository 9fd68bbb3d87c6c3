"""The channels core: rooms as append-only logs, readers as cursors with a bell. Knows no socket and no driver."""
