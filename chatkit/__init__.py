"""Rooms for people and programs: a room is an append-only log; a reader is a cursor into it."""

__version__ = "0.1.0"
