"""The table of operations: what a name on the wire runs, with which arguments, and for whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field

from .context import Context


class Args(BaseModel):
    """Arguments of one operation; a field that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=1_000_000)


#: An id, a number of events, an offset: what every database can hold, and JSON says exactly.
Number = Annotated[int, Field(strict=True, ge=0, le=2**53 - 1)]


class Nothing(Args):
    """An operation without arguments."""


A = TypeVar("A", bound=Args, contravariant=True)


class Function(Protocol[A]):
    def __call__(self, context: Context, args: A, /) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Operation:
    """One row of the table."""

    name: str
    args: type[Args]
    function: Callable[[Context, Any], dict[str, Any]]
    role: str | None
    """The least role that may call it; ``None`` needs nobody (signing in)."""


OPERATIONS: dict[str, Operation] = {}


def operation(name: str, *, role: str | None) -> Callable[[Function[A]], Function[A]]:
    """Enter a function into the table; its argument class is read from its annotation.

    Args:
        name: the word on the wire, ``noun.verb``.
        role: least role of the person, or ``None`` where nobody needs to be signed in.
    """

    def enter(function: Function[A]) -> Function[A]:
        args = get_type_hints(function)["args"]
        OPERATIONS[name] = Operation(name, args, function, role)
        return function

    return enter
