"""WebSocket frames (RFC 6455) and their compression (RFC 7692) as bytes. Knows no sockets, event loops or rooms."""
