"""Where rooms can be kept: one package a technology. `open_backend` picks one by its URL."""

from chatkit.backends.urls import open_backend

__all__ = ["open_backend"]
