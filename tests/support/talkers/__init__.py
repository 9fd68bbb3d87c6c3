"""Clients of several kinds that act in one room at random, for tests/end_to_end/talk.py."""
