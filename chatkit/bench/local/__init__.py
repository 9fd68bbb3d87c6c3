"""Servers and stores that a benchmark starts on this machine, and stops."""
