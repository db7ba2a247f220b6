"""No class."""
x = 1
