"""Which jobs a worker believes to have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from sqlalchemy import create_engine

from omserver_master.errors import LeaseLost
from omserver_master.jobs.claimed import ClaimedJob
from omserver_master.jobs.worker import Worker
from omserver_master.settings import load_settings, open_home
from omserver_master.store.sitekey import make_site_key


class LostJob:
    """A claim that ran out while the database was away."""

    id = 17

    def run(self) -> None:
        raise LeaseLost


def test_a_job_that_is_claimed_anew_is_kept_when_its_lost_claim_is_noticed(tmp_path: Path) -> None:
    settings = load_settings({"OMSERVER_HOME": str(tmp_path / "home")})
    open_home(settings)
    make_site_key(settings.site_key)
    engine = create_engine("sqlite://")
    worker = Worker("w", settings, engine, cast(Any, None), None)
    lost, anew = (cast(ClaimedJob, LostJob()) for _ in range(2))
    worker._jobs |= {lost, anew}
    worker._run_job(lost)
    assert worker._running() == [anew]
    engine.dispose()
