"""The `chatkit` command. The only package that knows Typer."""
