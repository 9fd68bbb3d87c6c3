"""What goes over a socket, without a socket: the frames of `chatkit.v1` and one client's conversation."""
