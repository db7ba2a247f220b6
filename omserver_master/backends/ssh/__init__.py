"""Reaches hosts by plain ssh."""
