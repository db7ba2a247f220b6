"""A worker to be killed: ``python -m tests.contract.worker`` runs one dispatch from its standard input.

{"kind", "settings", "work", "hosts": [[id, name, remote_id, address], ...], "handle", "seconds"}; without a
handle it makes one itself. It prints {"handle": ...}, then every answer as it comes.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from omserver_master.backends import Target, make_backend
from omserver_master.contract.work import work_from_wire


def main() -> None:
    """Run it to its end, if nobody kills us."""
    order: dict[str, Any] = json.load(sys.stdin)
    backend = make_backend(order["kind"], "killed", order["settings"])
    handle = order.get("handle") or backend.new_handle()
    print(json.dumps({"handle": handle}), flush=True)
    hosts = [Target(*host) for host in order["hosts"]]
    deadline = time.monotonic() + order["seconds"]
    for host_id, answer in backend.run(work_from_wire(order["work"]), hosts, handle, deadline):
        print(json.dumps({"host": host_id, "answer": answer.to_wire()}), flush=True)


if __name__ == "__main__":
    main()
