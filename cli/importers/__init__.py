"""Readers of exports and of other programs' archives, and the loaders that store what they read."""
