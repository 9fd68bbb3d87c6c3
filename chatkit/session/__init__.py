"""Sessions: the server's side of one connection. Handles commands and writes frames. Knows no sockets."""
