"""The command's entry point. `python -m chatkit.cli` is `chatkit`."""

import sys


def main() -> None:
    """Run the command that the process was started with, and exit with its status."""
    try:
        from chatkit.cli.main import main as run_command  # takes a quarter of a second, in which Ctrl-C may come
    except KeyboardInterrupt:
        sys.exit(130)
    run_command()


if __name__ == "__main__":
    main()
