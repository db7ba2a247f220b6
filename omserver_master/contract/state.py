"""The base of modules that apply Salt states.

class Modulehandle(StateModule):
    workers = Int(default=4, maximum=64)
    sls = "web.nginx"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .enginework import State
from .hosts import Host
from .mistakes import ModuleMistake
from .module import Module, Steps

_ENGINES = ("salt", "salt-api")


class StateModule(Module):
    """A module that applies Salt states, on hosts that are reached through Salt.

    ``sls`` is the name of a state of the Salt master, such as ``web.nginx``, or several. The parameters are
    pillar: the state reads ``pillar["om"]["workers"]``, where "om" is ``pillar_root``. ``saltenv`` is the
    environment of the states. A dry run is ``test=True``.
    """

    sls: ClassVar[str | tuple[str, ...]] = ()
    pillar_root: ClassVar[str] = "om"
    saltenv: ClassVar[str] = "base"
    repeat: ClassVar[str] = "idempotent"
    timeout: ClassVar[float] = 600
    engines: ClassVar[tuple[str, ...]] = _ENGINES
    check: ClassVar[Any] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.engines or not set(cls.engines) <= set(_ENGINES):
            raise ModuleMistake(
                "engines", f"of a StateModule are {_ENGINES}: nothing else has states; it is {cls.engines!r}"
            )
        for name in ("pillar_root", "saltenv"):
            if not isinstance(getattr(cls, name), str) or not getattr(cls, name):
                raise ModuleMistake(name, f"may be a name; it is {getattr(cls, name)!r}")
        if cls.sls:
            _check_sls(cls.sls)

    @classmethod
    def check_complete(cls) -> None:
        """Make sure that there is something to apply.

        Raises:
            ModuleMistake: there is no ``sls``, no ``steps`` and no ``run``.
        """
        own_logic = cls.steps is not StateModule.steps or cls.run is not Module.run
        if not cls.sls and not own_logic:
            raise ModuleMistake("sls", "is missing: it is the name of a state, such as web.nginx")

    def steps(self, host: Host) -> Steps:
        """One step: the states."""
        yield self.apply()
        return None

    def apply(self, **pillar: Any) -> State:
        """The states with the parameters as pillar, and *pillar* on top of them, under ``pillar_root``."""
        return State(
            self.sls,
            {self.pillar_root: {**self.pillar(), **pillar}},
            test=self.dry_run,
            saltenv=self.saltenv,
            timeout=self.timeout,
            output=self.output,
        )

    def pillar(self) -> Mapping[str, Any]:
        """All parameters, by name, as a pillar has values."""
        return self.plain_values()


def _check_sls(sls: Any) -> None:
    try:
        if not isinstance(sls, str | tuple):
            raise TypeError
        State(sls)
    except (ValueError, TypeError):
        raise ModuleMistake(
            "sls", f"may be the name of a state like web.nginx, or a tuple of such; it is {sls!r}"
        ) from None
