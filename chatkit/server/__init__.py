"""The chat server: Litestar over one hub, run by uvicorn. The only package that imports either."""
