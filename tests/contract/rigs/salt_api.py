"""The same fleet, reached through the salt-api beside its Salt master."""

from __future__ import annotations

from tests.fleet.fleet import SaltFleet

from .salt import SaltRig


class SaltApiRig(SaltRig):
    """A salt-api between us and the Salt master; it is what is stopped."""

    kind = "salt-api"

    def start(self) -> None:
        self.fleet: SaltFleet = self.shared("fleet")
        self.settings = self.fleet.api_settings
        self.hosts = self.fleet.targets()

    def stop_control(self) -> None:
        self.fleet.stop_api()

    def start_control(self) -> None:
        self.fleet.start_api()
