"""`chatkit join`: a chat in one room, through a terminal or a pipe."""
