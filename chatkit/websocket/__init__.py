"""WebSocket frames (RFC 6455) and their compression (RFC 7692) as bytes. Knows no socket, no loop and no rooms."""
