"""Outputs whose time is over, as callers see them: the row stays, and says what became of the rest."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from omserver_client import Client
from omserver_client.errors import NotFound
from omserver_client.omctl.outputs import outputs_as_json
from omserver_master.keeping import Keep, Purge
from omserver_master.store import clock, schema
from omserver_master.store.engine import begin
from tests.system import System, wait_for_end


def test_an_output_that_was_removed_is_not_an_empty_one(site: System, admin: Client) -> None:
    ids = [admin.submit("2001", {"word": word}, ["alpha"])["job"]["id"] for word in ("gone", "kept")]
    for id_ in ids:
        wait_for_end(admin, id_)
    admin.pin_job(ids[1])
    with begin(site.engine) as conn:
        long_ago = clock.now(conn) - 91 * 86_400
        change = update(schema.jobs).where(schema.jobs.c.id.in_(ids))
        conn.execute(change.values(created=long_ago, finished=long_ago))
    Purge(site.engine, site.site_key, Keep(90, 400, 1100)).run()

    gone, kept = (admin.job(id_) for id_ in ids)
    assert (gone["purged"] is not None, kept["purged"]) == (True, None)
    rows = [admin.results(id_)["results"][0] for id_ in ids]
    assert [row["stdout_bytes"] for row in rows] == [4, 4]
    assert admin.output(ids[1], rows[1]["host_id"])["bytes_total"] == 4
    with pytest.raises(NotFound, match=r"The output was removed on \d{4}-\d\d-\d\d by age\.") as refusal:
        admin.output(ids[0], rows[0]["host_id"])
    assert refusal.value.details == {"purged": gone["purged"]}
    assert admin.output(ids[0], rows[0]["host_id"], "stderr")["bytes_total"] == 0  # that one was empty
    (shown,) = outputs_as_json(admin, ids[0], rows[:1])
    assert shown["stdout"] is None
    assert "by age" in shown["removed"]
