"""The `chatkit` command. The only package that knows Typer."""

from chatkit.cli.app import main

__all__ = ["main"]
