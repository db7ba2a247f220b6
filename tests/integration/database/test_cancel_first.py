"""A cancel that was committed first: nothing of the job is handed to any engine after it."""

from __future__ import annotations

import pytest
from people import add_person, furnish
from sqlalchemy import Engine

from omserver_master.errors import CancelAsked
from omserver_master.store import jobs, leases, results
from omserver_master.store.engine import begin, read


def test_what_is_about_to_be_sent_is_not_written_down_after_a_cancel(engine: Engine) -> None:
    with begin(engine) as conn:
        hosts = list(furnish(conn).hosts.values())
        user = add_person(conn, "alice", "operator")
        job = {
            "module": "1001", "module_sha256": "a" * 64, "params": {}, "user_id": user, "user": "alice",
            "key_kid": "k" * 16, "message_id": "m1", "request_hash": "b" * 64, "repeat": "once",
            "timeout": 60, "start_before": 2e9,
        }  # fmt: skip
        rows = [{"host_id": id_, "host": f"host-{id_}", "ip": "192.0.2.1"} for id_ in hosts]
        job_id = jobs.add_job(conn, job, rows)["id"]
    with begin(engine) as conn:
        leases.claim_this(conn, job_id, "w1", 30)
        results.mark_dispatched(conn, job_id, hosts[:1], "jid-1", "salt", 1)
        jobs.ask_cancel(conn, job_id)
    with pytest.raises(CancelAsked), begin(engine) as conn:
        results.mark_dispatched(conn, job_id, hosts[1:], "jid-2", "salt", 1)
    with read(engine) as conn:
        states = results.counts(conn, [job_id])[job_id]
    assert states == {"dispatched": 1, "pending": len(hosts) - 1}
