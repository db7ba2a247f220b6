"""Drive the steps of a module on all its hosts at once; runs in a child process only.

Every host has a generator of its own. Hosts that yield at the same time go out in one message, so that equal
work can become one dispatch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import isgenerator
from typing import Any

from ..contract.attributes import return_codes
from ..contract.ends import Failed, Ok, Skipped
from ..contract.hosts import Host
from ..contract.jobview import HostView, JobView
from ..contract.module import Module
from ..contract.work import DEFAULT_OUTPUT, Answer, Put, Run, Script, Work
from .channel import Channel, Message, Stopped, batches
from .loading import blame

#: Bytes of an answer that ``after`` may see.
_VIEWED = 4096


class WrongStep(Exception):
    """What ``steps`` yielded or returned is nothing that it may."""


class HostSteps:
    """One host's way through ``steps``."""

    def __init__(self, module: Module, host: Host, path: str) -> None:
        self.host = host
        self.seq = 0
        self.end: Message | None = None
        self._module = module
        self._path = path
        self._steps: Any = None
        self._last: Answer | None = None

    def advance(self, answer: Answer | None) -> Message | None:
        """Go on with *answer* (None at first): the next work as JSON, or None when ``end`` is there."""
        self._last = answer
        if answer is not None and answer.state != "done":
            self._close()
            self.end = {"state": answer.state, "reason": answer.reason, "text": ""}
            return None
        try:
            return self._step(answer)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- a module's own code
            line, reason = blame(error, self._path)
            self.end = {"state": "crashed", "line": line, "reason": reason, "text": ""}
            return None

    def replay(self, answers: Sequence[Answer]) -> Message | None:
        """Go on from the beginning through *answers* of before: the work after them, or None as `advance`."""
        work = self.advance(None)
        for answer in answers:
            if work is None:
                break
            work = self.advance(answer)
        return work

    def view(self) -> HostView:
        """The host as ``after`` sees it."""
        end = self.end or {"state": "unknown", "reason": "", "text": ""}
        state = "failed" if end["state"] == "crashed" else end["state"]
        stdout = self._last.stdout[:_VIEWED].decode("utf-8", "replace") if self._last else ""
        return HostView(self.host.name, self.host.ip, state, end["reason"], end["text"] or stdout)

    def _step(self, answer: Answer | None) -> Message | None:
        if self._steps is None:
            steps = self._module.steps(self.host)
            if not isgenerator(steps):
                self.end = self._end_of(steps)
                return None
            self._steps = steps
        try:
            work = self._steps.send(answer)
        except StopIteration as stop:
            self.end = self._end_of(stop.value)
            return None
        return self._complete(work)

    def _end_of(self, value: object) -> Message:
        if isinstance(value, Ok):
            return {"state": "ok", "reason": "", "text": str(value.text)}
        if isinstance(value, Failed | Skipped):
            state = "failed" if isinstance(value, Failed) else "skipped"
            return {"state": state, "reason": str(value.reason), "text": ""}
        if value is not None:
            raise WrongStep(f"steps() returned {type(value).__name__}, not Ok, Failed, Skipped or nothing")
        return self._end_of(self._judged())

    def _judged(self) -> Ok | Failed:
        """The end that the last return code means."""
        last = self._last
        if last is None or last.rc in return_codes(self._module.ok):
            return Ok()
        lines = last.errors.strip().splitlines() or [f"The return code is {last.rc}."]
        return Failed(lines[0][:300])

    def _complete(self, work: Work) -> Message:
        """*work* as JSON, with what the module's attributes say about every command."""
        if not isinstance(work, Work):
            allowed = "Run, Script, Put, State or Playbook"
            wrong = WrongStep(f"steps() yielded {type(work).__name__}, not {allowed}")
            self._steps.throw(wrong)
            raise wrong
        self.seq += 1
        common, wire = self._module.common(), work.to_wire()
        if wire["timeout"] is None:
            wire["timeout"] = common["timeout"]
        if isinstance(work, Run | Script):
            wire["env"] = common["env"] | wire["env"]
            wire["stdin"] = wire["stdin"] or Run(["-"], stdin=common["stdin"]).to_wire()["stdin"]
        if not isinstance(work, Put):
            wire["output"] = common["output"] if work.output == DEFAULT_OUTPUT else work.output
        return wire

    def _close(self) -> None:
        """Let the generator clean up after itself; what goes wrong there changes nothing."""
        with contextlib.suppress(Exception, SystemExit):
            if self._steps is not None:
                self._steps.close()


class Driver:
    """Drives a module over a channel; called by ``Module.run``.

    Args:
        late: the job is over, and its ``after`` was called.
    """

    def __init__(
        self,
        channel: Channel,
        path: str,
        replay: Mapping[str, Sequence[Answer]] | None = None,
        ended: Mapping[str, Message] | None = None,
        *,
        late: bool = False,
    ) -> None:
        self._channel = channel
        self._path = path
        self._replay = replay or {}
        self._ended = ended or {}
        self._late = late
        self.used = False

    def __call__(self, module: Module) -> dict[str, Any]:
        """Do the steps on all hosts; answer how each ended, by name."""
        self.used = True
        module.before(module.hosts)
        hosts = {host.name: HostSteps(module, host, self._path) for host in module.hosts}
        for name, end in self._ended.items():
            hosts[name].end = end
        going = [(name, steps) for name, steps in hosts.items() if steps.end is None]
        self._say((steps, steps.replay(self._replay.get(name, ()))) for name, steps in going)
        while any(steps.end is None for steps in hosts.values()):
            self._say((steps, steps.advance(answer)) for steps, answer in self._answers(hosts))
        if not self._late:
            self._after(module, JobView(tuple(steps.view() for steps in hosts.values())))
        return {name: steps.end for name, steps in hosts.items()}

    def _say(self, ready: Iterable[tuple[HostSteps, Message | None]]) -> None:
        items = []
        for steps, work in ready:
            if work is None:
                self._say_end(steps)
            else:
                items.append({"host": steps.host.name, "work": work, "seq": steps.seq})
        for batch in batches(items):
            self._channel.say({"say": "work", "items": batch})

    def _say_end(self, steps: HostSteps) -> None:
        end = steps.end or {}
        if end["state"] == "crashed":
            about = {"host": steps.host.name, "line": end["line"], "reason": end["reason"]}
            self._channel.say({"say": "crashed", **about})
        else:
            self._channel.say({"say": "end", "host": steps.host.name, "end": end})

    def _answers(self, hosts: Mapping[str, HostSteps]) -> Iterator[tuple[HostSteps, Answer]]:
        for order in self._channel.hear():
            if order["do"] == "stop":
                raise Stopped
            for item in order.get("items", [order]):
                steps = hosts.get(item["host"])
                if steps and steps.end is None and item.get("seq", steps.seq) == steps.seq:
                    yield steps, Answer.from_wire(item["answer"])

    def _after(self, module: Module, view: JobView) -> None:
        """Call ``after``; its failure is a note, and changes no host's result."""
        if type(module).after is not Module.after:
            self._channel.flush()  # it may take its time
        try:
            text = module.after(view)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- a module's own code
            line, reason = blame(error, self._path)
            text = f"after() failed{f' in line {line}' if line else ''}: {reason}"
        if text:
            self._channel.say({"say": "note", "text": str(text)[:_VIEWED]})
