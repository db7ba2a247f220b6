"""Tests: unit (no I/O), integration (real wire, databases, engines), acceptance (the whole system)."""
