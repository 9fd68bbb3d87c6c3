"""The chat server: a Litestar application over one hub, run by uvicorn."""
