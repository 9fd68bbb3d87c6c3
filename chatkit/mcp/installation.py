"""Whether the MCP SDK is installed, which is the extra `chatkit[mcp]`."""

from importlib.util import find_spec
from typing import Final

MISSING: Final = "MCP is not installed here: use pip install 'chatkit[mcp]'"


def is_installed() -> bool:
    """Return whether version 2 of the SDK is installed, without importing it, which takes a second."""
    return find_spec("mcp") is not None and find_spec("mcp_types") is not None  # version 1 has no `mcp_types`
