"""The base of modules with logic: the 2014 contract ``Modulehandle(moduleid, hosts, sys_param_row).run()``.

    class Modulehandle(Module):
        def steps(self, host):
            answer = yield Run("cat /proc/loadavg")
            return Ok(answer.text.split()[0])

Everything is checked when the class is created; an error names the attribute and what is allowed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from .attributes import check_attributes, declared_params
from .ends import End
from .forms import Raw, read_form
from .hosts import Host, read_hosts
from .jobview import JobView
from .mistakes import ModuleMistake
from .params import Param
from .work import DEFAULT_OUTPUT, Answer, Work

Steps = Generator[Work, Answer, End | None]


class Module:
    """A module with logic of its own: write ``steps``.

    Attributes, all optional:
        repeat: what running it again means: "read_only", "idempotent", or "once" (never repeated by us).
        timeout: seconds that one host may take for all steps together.
        ok: return codes that are good: ``0, 1``.
        output: bytes of each stream that are kept.
        most_hosts: more hosts than that need a confirmation; None leaves it to the site.
        risk: "low", "medium" or "high", shown before it runs.
        title_zh, caption_zh: the title and the caption in Chinese.
        stdin: what every command reads: text, bytes, or a parameter.
        env: variables of every command: text or parameters, by name.
        engines: the kinds of connection it works with; empty means all.
        rollout: how a job goes over its hosts, unless it says otherwise: ``{"batch": "10%", "wait": 30}``.
        lock: what one job at a time may have: ``"host"`` for each of its hosts, or a name like ``"deploy"``.
        check: True if ``steps`` heeds ``self.dry_run``, and then changes nothing on a host.
    """

    repeat: ClassVar[str] = "once"
    timeout: ClassVar[float] = 60
    ok: ClassVar[tuple[int, ...] | int] = (0,)
    output: ClassVar[int] = DEFAULT_OUTPUT
    most_hosts: ClassVar[int | None] = None
    risk: ClassVar[str] = "low"
    title_zh: ClassVar[str] = ""
    caption_zh: ClassVar[str] = ""
    stdin: ClassVar[str | bytes | Param] = ""
    env: ClassVar[Mapping[str, str | Param]] = {}
    engines: ClassVar[tuple[str, ...]] = ()
    rollout: ClassVar[Mapping[str, Any]] = {}
    lock: ClassVar[str | tuple[str, ...]] = ()
    check: ClassVar[Any] = False

    #: The parameters in the order of their declaration; found, not written.
    params: ClassVar[tuple[Param, ...]] = ()
    #: Set by the process that runs module code: drives the steps, answers the ends by host name.
    driver: Callable[[Module], dict[str, Any]] | None = None
    #: Set by it, too: the job shall change nothing, and say what it would change.
    dry_run: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        inherited = {param.name: param for param in cls.params}
        cls.params = tuple((inherited | declared_params(cls)).values())
        check_attributes(cls)

    def __init__(self, moduleid: str, hosts: str | Sequence[Host], sys_param_row: Raw) -> None:
        """Read the parameters; ``self.<name>`` is then the value. *hosts* may be ``ip*name,ip*name``.

        Raises:
            InvalidParam: a parameter is not acceptable.
        """
        self.moduleid = moduleid
        self.hosts = read_hosts(hosts)
        self.values = read_form(self.params, sys_param_row)
        vars(self).update(self.values)

    @classmethod
    def check_complete(cls) -> None:
        """Make sure that there is something to run; bases of an author's own need not pass.

        Raises:
            ModuleMistake: there is neither ``steps`` nor ``run``.
        """
        if cls.steps is Module.steps and cls.run is Module.run:
            raise ModuleMistake(
                "steps", "write `def steps(self, host):`, or make it a ShellModule with a command"
            )

    def steps(self, host: Host) -> Steps | End | None:
        """What to do on one host: yield `Run`, `Script` or `Put`, get its `Answer`, return how it ended.

        An answer comes back only if the work ran: a host that was not reached, or was too slow, ends there.
        Returning nothing means: ok if the last return code was good.
        """
        return None

    def before(self, hosts: Sequence[Host]) -> None:
        """Called once before the first step; an exception ends the job before anything is sent."""

    def after(self, job: JobView) -> str | None:
        """Called once when all hosts are done; the text returned, if any, is noted in the job."""

    def run(self) -> dict[str, Any]:
        """Do the steps on all hosts. Override it to answer a 2014 dict yourself, which makes it "direct".

        Raises:
            RuntimeError: called outside a job.
        """
        if self.driver is None:
            raise RuntimeError("run() works inside a job only; to see the work of a module, call steps().")
        return self.driver(self)

    def file(self, name: str) -> bytes:
        """The content of ``files/<name>`` beside the module.

        Raises:
            FileNotFoundError: there is no such file in that folder.
        """
        folder = (folder_of(type(self)) / "files").resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise FileNotFoundError(f"there is no file {name!r} in files/ beside the module")
        return path.read_bytes()

    def variables(self) -> dict[str, str]:
        """All parameters as environment variables: ``OM_`` and the name in capitals."""
        return {f"OM_{param.name.upper()}": param.text(self.values[param.name]) for param in self.params}

    def plain_values(self) -> dict[str, Any]:
        """All parameters by name, as JSON has values; numbers and yes or no stay what they are."""
        return {param.name: _plain(param, self.values[param.name]) for param in self.params}

    def common(self) -> dict[str, Any]:
        """What the attributes say about every piece of work, as arguments of `Run` and `Script`."""
        env = {name: self._text_of(text) for name, text in self.env.items()}
        return {
            "stdin": self._text_of(self.stdin),
            "env": env,
            "timeout": self.timeout,
            "output": self.output,
        }

    def _text_of(self, text: Any) -> Any:
        return text.text(self.values[text.name]) if isinstance(text, Param) else text


def _plain(param: Param, value: Any) -> Any:
    """A parameter's value as JSON has it; numbers and yes or no stay what they are."""
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return float(value)
    return param.to_wire(value)


def folder_of(cls: type) -> Path:
    """The folder of the file that defines *cls*."""
    module = sys.modules.get(cls.__module__)
    return Path(getattr(module, "__file__", None) or "./-").parent
