"""Very many addresses at once: ``SSH_CROWD=1000 pytest tests/integration/test_ssh_crowd.py`` for 1,000."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.fleet.spaces import CHECKOUT
from tests.fleet.sshhosts import CROWDED, SshHosts

NUMBER = int(os.environ.get("SSH_CROWD", "200"))
#: What a worker may need for a thousand of them, in bytes.
LIMIT = 1024**3
_WORKER = """
import json, sys, time
from omserver_master.backends import Target, make_backend
from omserver_master.contract.work import Run
settings, hosts = json.load(sys.stdin)
backend = make_backend("ssh", "crowd", settings)
hosts = [Target(*host) for host in hosts]
said = []
for _ in range(2):
    deadline = time.monotonic() + 110
    work, handle = Run("hostname; head -c 3000 /dev/zero"), backend.new_handle()
    answers = dict(backend.run(work, hosts, handle, deadline))
    said += [
        answer.text.split("\\n")[0] or f"{answer.state} {answer.rc} {answer.reason} {answer.errors[:200]}"
        for answer in answers.values()
    ]
status = open("/proc/self/status").read().split()
print(json.dumps([said, int(status[status.index("VmHWM:") + 1]) * 1024]))
backend.close()
"""


def test_all_answer_within_a_gibibyte(sshhosts: SshHosts) -> None:
    hosts = [[host.id, host.name, host.remote_id, host.address] for host in sshhosts.crowd(NUMBER)]
    order = json.dumps([sshhosts.connection_settings, hosts])
    done = subprocess.run(
        [sys.executable, "-c", _WORKER],
        input=order,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    said, memory = json.loads(done.stdout)
    assert (len(said), set(said)) == (2 * NUMBER, {CROWDED})
    assert memory < LIMIT * max(0.25, NUMBER / 1000), f"{memory / 1024**2:.0f} MiB"
