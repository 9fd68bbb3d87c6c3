"""The protocol `chatkit.v1`, shared by both ends: its commands and events as JSON, and text frames."""
