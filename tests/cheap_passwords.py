"""Passwords that are hashed in a millisecond, for tests that are about something else."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from omserver_master.access import passwords


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash cheaply until the test ends."""
    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    monkeypatch.setattr(passwords, "_nobodys", lambda: _NOBODYS)


_NOBODYS = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("nobody knows")
