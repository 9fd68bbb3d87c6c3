"""The store backends: one package for each technology. `open_backend` chooses one by its URL."""

from chatkit.backends.urls import open_backend

__all__ = ["open_backend"]
