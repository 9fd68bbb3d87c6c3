"""The server's end of one client's conversation: commands in, frames out. Knows no socket."""
