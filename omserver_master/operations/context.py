"""What an operation has at hand: the site's parts, and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Engine

from omserver_client.messages import Request
from omserver_master.access.rights import Person
from omserver_master.access.throttle import LoginThrottle
from omserver_master.caller import Caller
from omserver_master.jobs.bell import Changes, Ring
from omserver_master.jobs.submission import Rules
from omserver_master.registry.registry import Registry
from omserver_master.roster.kept import Previews
from omserver_master.settings import Settings
from omserver_master.store.limits import Limits
from omserver_master.store.sitekey import SiteKey


@dataclass(frozen=True)
class Site:
    """The parts of one running master."""

    settings: Settings
    engine: Engine
    registry: Registry
    throttle: LoginThrottle
    site_key: SiteKey
    changes: Changes
    """Announced when a worker has stored something."""
    rules: Rules
    """What jobs are checked against."""
    ring: Ring
    previews: Previews = field(default_factory=Previews)
    """Imports that were looked at and may be applied."""

    @property
    def most(self) -> Limits:
        """How many jobs run at once."""
        return Limits(self.settings.max_jobs_per_person, self.settings.max_jobs)


@dataclass(frozen=True)
class Context:
    """One request: the site, the request itself and who is behind it."""

    site: Site
    request: Request
    caller: Caller
    person: Person | None
    """Who acts, with the rights already narrowed by the key; ``None`` only where nobody needs to."""

    @property
    def who(self) -> Person:
        """The person behind a request that needs one; the dispatcher has made sure that there is one."""
        assert self.person is not None
        return self.person
