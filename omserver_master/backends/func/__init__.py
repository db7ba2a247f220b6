"""Reaches minions of Func, old and new."""
