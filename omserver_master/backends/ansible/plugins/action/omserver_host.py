"""Brings work to a host over the connection's own standard input: the host needs a shell, and no Python."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError  # type: ignore[import-untyped]
from ansible.plugins.action import ActionBase  # type: ignore[import-untyped]

from omserver_master.backends.ansible import host as on_host
from omserver_master.backends.ansible.run import Play


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _VALID_ARGS: frozenset[str] = frozenset()

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        result["changed"] = False
        result["omserver"] = json.dumps(self._carry(task_vars["inventory_hostname"]))
        return result

    def _carry(self, name: str) -> dict[str, Any]:
        """What is noted about this host: how it went, and its words if there were any."""
        job = Play.job
        if not self._connection.has_pipelining:
            kind = self._connection.transport
            return {"how": "cannot", "text": f"Ansible's connection {kind} has no standard input: use ssh."}
        if name in Play.folder.called_off():
            return {"how": "called_off", "text": ""}
        _limit_memory(job["most_bytes"])
        heard = _listen(self._connection)
        command = on_host.command(job, name)
        stdin = on_host.stdin_for(Play.stdin, job["handles"], name)
        try:
            done = self._low_level_execute_command(command, in_data=stdin)
        except AnsibleConnectionFailure as error:
            return {"how": "lost" if _arrived(heard) else "unreachable", "text": str(error.message)}
        except AnsibleError as error:
            return {"how": "lost" if _arrived(heard) else "refused", "text": str(error.message)}
        except MemoryError:
            return {"how": "lost", "text": "The host answered with more than its output may be."}
        if on_host.HERE not in done["stdout"]:
            return {"how": "refused", "text": done["stderr"][-2000:], "rc": done["rc"]}
        return {"how": "said", "text": done["stdout"][: job["most_bytes"]], "rc": done["rc"]}


def _listen(connection: Any) -> list[bytes]:
    """A list that will hold what the host said, also when the connection is lost and Ansible drops it."""
    heard: list[bytes] = []
    converse = getattr(connection, "_bare_run", None)
    if converse is None:
        return heard

    def bare_run(cmd: Any, in_data: Any, sudoable: bool = True, checkrc: bool = True) -> Any:
        # checkrc only decides whether words are kept when ssh itself fails; who called us looks at the code.
        done = converse(cmd, in_data, sudoable=sudoable, checkrc=False)
        heard.append(done[1])
        return done

    connection._bare_run = bare_run
    return heard


def _arrived(heard: list[bytes]) -> bool:
    return any(on_host.HERE.encode() in words for words in heard)


def _limit_memory(most_bytes: int) -> None:
    """A host that never stops talking must not take the master's memory; this process is for one host."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    room = now + 16 * most_bytes + (256 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
