"""What server and client share: the protocol `chatkit.v1`, the bodies of the HTTP API, and the codes of errors."""
