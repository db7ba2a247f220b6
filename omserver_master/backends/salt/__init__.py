"""Reaches minions through a Salt master: on this machine, or behind salt-api."""
