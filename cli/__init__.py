"""The `chatkit` command. The only package that knows Typer."""

from chatkit.cli.main import main

__all__ = ["main"]
