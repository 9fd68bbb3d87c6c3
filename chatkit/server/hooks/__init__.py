"""Incoming webhooks: what other services send, in their own formats, becomes messages."""
