"""A call on a minion: may this caller do it, and what comes of it. No sockets here.

A refusal is a fault; everything else that goes wrong is an error list, without a traceback.
"""

from __future__ import annotations

import inspect
import logging
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .acl import Acls
from .errors import DENIED, FuncError, remote_error
from .minionjobs import Jobs
from .module import FuncModule, methods_of
from .programs import Programs
from .subject import Subject
from .wire import write_result

log = logging.getLogger(__name__)
audit = logging.getLogger("omserver_func.audit")

_ASYNC = "async."
_NAMES_OF_ALL = ("trait_names", "_getAttributeNames")
_UNKNOWN_MODULE = "func.minion.codes.ModuleNotFoundException"
_UNKNOWN_METHOD = "func.minion.codes.InvalidMethodException"
_FAILED = "func.minion.codes.FuncException"
_TOO_LARGE = "<type 'exceptions.OverflowError'>:int exceeds XML-RPC limits"


class Dispatcher:
    """The methods of one minion. May be used by many threads at once."""

    def __init__(self, modules: Mapping[str, type[FuncModule]], acls: Acls, *, programs: bool = True) -> None:
        """Without *programs*, the module `omserver` is missing, as on an original minion."""
        self._modules = modules
        self._acls = acls
        self._jobs = Jobs()
        self._programs = Programs() if programs else None
        self._single: dict[str, FuncModule] = {}
        self._built_in: dict[str, dict[str, Callable[..., Any]]] = {
            "system": {
                "list_modules": self._list_modules,
                "list_methods": self._list_methods,
                "listMethods": self._list_methods,
                "inventory": self._inventory,
                "grep": self._grep,
            },
        }

    def answer(self, method: str, arguments: Sequence[Any], caller: Subject, address: str) -> bytes:
        """The whole reply to one call.

        Raises:
            xmlrpc.client.Fault: the caller may not do that, or the result has no form in XML-RPC.
        """
        value = self._call(method, arguments, caller, address)
        try:
            return write_result(value)
        except OverflowError as error:
            raise xmlrpc.client.Fault(1, _TOO_LARGE) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise xmlrpc.client.Fault(1, f"<type 'exceptions.TypeError'>:{error}") from error

    def close(self) -> None:
        """Stop what was started by name and still runs."""
        if self._programs is not None:
            self._programs.close()

    def _call(self, method: str, arguments: Sequence[Any], caller: Subject, address: str) -> Any:
        in_background = method.startswith(_ASYNC)
        name = method.removeprefix(_ASYNC)
        who = f"{address} {caller.common_name!r} {caller.hash}"
        if not self._acls.allows(caller, name):
            audit.warning("%s %r denied", who, name[:200])
            raise xmlrpc.client.Fault(1, DENIED)
        audit.info("%s %r%s", who, name[:200], " in the background" if in_background else "")
        if name in _NAMES_OF_ALL:
            return self._list_methods()
        work = partial(self._try, name, arguments, caller)
        if not in_background:
            return work()
        try:
            return self._jobs.start(caller.key, partial(_sendable, work))
        except FuncError as error:
            return remote_error(_FAILED, str(error))

    def _try(self, name: str, arguments: Sequence[Any], caller: Subject) -> Any:
        module_name, _, method_name = name.rpartition(".")
        if arguments and isinstance(arguments[0], dict) and "__fact__" in arguments[0]:
            return remote_error("exceptions.AttributeError", "This minion tells no facts.")
        methods = self._methods(module_name, caller)
        if methods is None:
            return remote_error(_UNKNOWN_MODULE, "")
        if method_name not in methods:
            return remote_error(_UNKNOWN_METHOD, "")
        return _run(methods[method_name], arguments)

    def _methods(self, module_name: str, caller: Subject) -> Mapping[str, Callable[..., Any]] | None:
        if module_name in self._built_in:
            return self._built_in[module_name]
        if module_name == "jobs":
            return self._job_methods(caller)
        if module_name == "omserver" and self._programs is not None:
            return self._programs.methods(caller.key)
        kind = self._modules.get(module_name)
        if kind is None:
            return None
        if getattr(kind, "single", False):
            return methods_of(self._single.setdefault(module_name, kind()))
        return methods_of(kind())

    def _job_methods(self, caller: Subject) -> dict[str, Callable[..., Any]]:
        return {
            "job_status": partial(self._jobs.status, caller.key),
            "tail_output": lambda job_id: ["", ""],
            "get_progress": lambda job_id: [0, 0],
        }

    def _inventory(self) -> dict[str, list[str]]:
        nobody = Subject("", 0)
        names = [*self._modules, *self._built_in, "jobs", *(["omserver"] if self._programs else [])]
        return {name: list(self._methods(name, nobody) or ()) for name in names}

    def _list_modules(self) -> list[str]:
        return sorted(set(self._inventory()) - {"system"})

    def _list_methods(self) -> list[str]:
        return sorted(f"{module}.{name}" for module, names in self._inventory().items() for name in names)

    def _grep(self, word: str) -> dict[str, str]:
        found = {}
        for list_name, names in (
            ("list_modules", self._list_modules()),
            ("list_methods", self._list_methods()),
        ):
            matching = [name for name in names if str(word).lower() in name.lower()]
            if matching:
                found[f"func.minion.server.{list_name}"] = matching[-1]
        return found


def _run(method: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        inspect.signature(method).bind(*arguments)
        return method(*arguments)
    except FuncError as error:
        return remote_error(_FAILED, str(error))
    except Exception as error:
        log.info("a module raised", exc_info=True)
        return remote_error(f"exceptions.{type(error).__name__}", str(error))


def _sendable(work: Callable[[], Any]) -> Any:
    """What *work* gives, or the error list for what could not be sent."""
    result = work()
    try:
        write_result(result)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return remote_error(f"exceptions.{type(error).__name__}", str(error))
    return result
