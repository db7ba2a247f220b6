"""What module code sees: parameters, work and answers, ends, and the base classes."""
