"""The loads of the Campfire comparison: audited posts, a room of 1,000 readers, and a restart of the server."""
