"""The load test of one server: many readers and senders, and the comparison with the store."""
