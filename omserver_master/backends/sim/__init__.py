"""Plays invented hosts, for tests and for load."""
