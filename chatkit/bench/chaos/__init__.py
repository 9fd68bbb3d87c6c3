"""Chaos tests: several servers on one store, killed and paused while followers read and publishers write."""
