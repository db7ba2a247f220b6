"""Broken."""
class Modulehandle(
