"""One load on one server: many readers and senders, and the comparison with what the server keeps."""
