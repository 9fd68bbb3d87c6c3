"""Rooms as tools for agents, by the Model Context Protocol (MCP).

`tools` are the operations, on a `RoomAccess`: over HTTP that is the server itself, on standard input and output a
client of a server. `sdk_server`, `http_exchange` and `stdio` need the package `mcp`, which is optional.
"""
