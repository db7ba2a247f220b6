"""Notes what Ansible hears of hosts in the run's spool, and prints nothing."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase  # type: ignore[import-untyped]

from omserver_master.backends.ansible.run import Play

DOCUMENTATION = """
    name: omserver_spool
    type: stdout
    short_description: notes results in the spool of OMServer
    description:
        - Appends one record for each event of a host to a file that only OMServer reads.
    options: {}
"""

#: Bytes of what one task says, and of its differences, that are kept.
LONGEST = 8 * 1024
LONGEST_DIFF = 64 * 1024
#: The action that carries work of ours; its result holds the host's words as one value.
OUR_ACTION = "omserver_host"


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "omserver_spool"

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._note("start", host=host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        answer = result.result.get("omserver")
        if result.task.action == OUR_ACTION and answer is not None:
            self._note("answer", host=result.host.get_name(), **json.loads(answer))
        else:
            self._task(result, "changed" if result.is_changed() else "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._task(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._task(result, "skipped")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._task(result, "unreachable")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        names = ("ok", "changed", "failures", "dark", "skipped", "rescued", "ignored")
        hosts = {
            host: {name: int(getattr(stats, name).get(host, 0)) for name in names} for host in stats.processed
        }
        self._note("stats", hosts=hosts)

    def _task(self, result: Any, status: str) -> None:
        said = result.result
        name = str(result.task_name or result.task.action)[:500]
        self._note(
            "task",
            host=result.host.get_name(),
            task=name,
            status=status,
            text=_message(said)[:LONGEST],
            diff=self._differences(said)[:LONGEST_DIFF],
        )

    def _differences(self, said: Any) -> str:
        """The differences of a task, and of each turn of its loop, as text."""
        turns = said.get("results")
        found = [said, *(turn for turn in turns if isinstance(turn, dict))] if turns else [said]
        return "".join(self._get_diff(each["diff"]) for each in found if each.get("diff"))

    def _note(self, event: str, **values: Any) -> None:
        try:
            Play.writer.append(event, **values)
        except OSError:
            # Going on without a note would be worse: what runs then, nobody would know of.
            os._exit(74)


def _message(said: Any) -> str:
    """What a task says, in short."""
    parts = [str(said[name]) for name in ("msg", "stderr", "module_stderr", "stdout") if said.get(name)]
    turns = said.get("results")
    if isinstance(turns, list):
        parts += [_message(turn) for turn in turns[:20] if isinstance(turn, dict) and turn.get("failed")]
    return "\n".join(part[:LONGEST] for part in parts[:2])
