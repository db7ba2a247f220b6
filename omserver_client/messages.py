"""What the sealed messages say: requests, task strings in their wrapping, replies.

All are JSON objects with ``"v": 1``. A request names an operation (``job.submit``) and its arguments; a reply
carries the same id and either ``ok`` or ``error``. Fields that this version does not know are ignored; those
it knows must be of their exact type.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import BadRequest, ProtocolError, Refused
from .taskstring import Task

VERSION = 1
#: A request's expiry may lie at most this many seconds ahead of the master's clock.
LONGEST_LIFE = 60.0
#: How long the requests made here live, in seconds.
LIFE = 45.0
#: How deep objects and lists may be nested.
DEEPEST = 32

#: What ``Runcommands`` answers, as in 2014, where it cannot answer results.
INVALID_LOGIN = "Invalid Login!"
VERIFY_FAILED = "User verify failed!"

_OP = re.compile(r"[a-z]{1,32}(\.[a-z_]{1,32})?")
_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_LONGEST_SESSION = 512
_LONGEST_KEY = 128


def module_missing_text(module: str) -> str:
    """What ``Runcommands`` answers, as in 2014, for a module that is not there."""
    return f'Module "Mid_{module}" does not exist, Please add it'


def _fresh_id() -> str:
    """A random UUID (version 4). Python's own takes three times as long, which every request would pay."""
    digits = secrets.token_hex(16)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


@dataclass(frozen=True)
class Request:
    """One request, whoever sends it.

    ``exp`` is in unix seconds on the master's clock; ``session`` the token of a person's login; ``key`` the
    idempotency key. The token is a secret, so it is not shown by ``repr``.
    """

    op: str
    args: Mapping[str, Any]
    exp: float
    id: str = field(default_factory=_fresh_id)
    session: str | None = field(default=None, repr=False)
    key: str | None = None

    def to_json(self) -> bytes:
        """This request as the plaintext of a sealed message."""
        return _dump({**_header(self), "op": self.op, "args": dict(self.args)})

    @classmethod
    def from_json(cls, plaintext: bytes) -> Request:
        """Read the plaintext of a sealed request. Whether it has expired is another question: `expired`.

        Raises:
            BadRequest: it is not a request; ``details["field"]`` says which field is wrong.
        """
        fields = _load(plaintext)
        op, args = fields.get("op"), fields.get("args", {})
        if not isinstance(op, str) or not _OP.fullmatch(op):
            raise BadRequest("The operation is missing or not a name.", field="op")
        if not isinstance(args, dict):
            raise BadRequest("The arguments must be an object.", field="args")
        return cls(op, args, **_read_header(fields))

    def expired(self, now: float) -> bool:
        """Whether *now*, the master's clock, is past ``exp``, or ``exp`` is further ahead than allowed."""
        return not now < self.exp <= now + LONGEST_LIFE


@dataclass(frozen=True)
class TaskRequest:
    """A task string in its wrapping, as ``Runcommands`` takes it. Fields as in `Request`."""

    task: str
    exp: float
    id: str = field(default_factory=_fresh_id)
    session: str | None = field(default=None, repr=False)
    key: str | None = None

    def to_json(self) -> bytes:
        """This task as the plaintext of a sealed message."""
        return _dump(_header(self) | {"task": self.task})

    @classmethod
    def from_json(cls, plaintext: bytes) -> TaskRequest:
        """Read the plaintext of a sealed task.

        Raises:
            BadRequest: it is not a task in its wrapping. A bare task string, as in 2014, is not.
        """
        fields = _load(plaintext)
        task = fields.get("task")
        if not isinstance(task, str):
            raise BadRequest("The task string is missing.", field="task")
        return cls(task, **_read_header(fields))

    def to_request(self) -> Request:
        """The operation that this task asks for: ``runcommands``, its task string taken apart.

        Raises:
            BadRequest: the task string is not well formed.
        """
        args = Task.parse(self.task).to_args()
        return Request("runcommands", args, self.exp, self.id, self.session, self.key)


@dataclass(frozen=True)
class Reply:
    """The answer to the request *id*: either ``ok`` or ``error`` (the wire form of a `Refused`)."""

    id: str
    ok: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None

    @classmethod
    def refusing(cls, id: str, refused: Refused) -> Reply:
        """The reply that says *refused*."""
        return cls(id, error=refused.to_wire())

    def to_json(self) -> bytes:
        """This reply as the plaintext of a sealed message."""
        body = {"ok": dict(self.ok)} if self.ok is not None else {"error": dict(self.error or {})}
        return _dump({"v": VERSION, "id": self.id} | body)

    @classmethod
    def from_json(cls, plaintext: bytes) -> Reply:
        """Read the plaintext of a sealed reply.

        Raises:
            ProtocolError: it is not a reply.
        """
        try:
            fields = _load(plaintext)
        except BadRequest as error:
            raise ProtocolError(f"The answer was not understood: {error}") from error
        reply = cls(fields.get("id", ""), fields.get("ok"), fields.get("error"))
        if not isinstance(reply.id, str) or isinstance(reply.ok, dict) == isinstance(reply.error, dict):
            raise ProtocolError("The answer is neither a result nor a refusal.")
        return reply

    def result(self) -> dict[str, Any]:
        """What the master answered.

        Raises:
            Refused: the master said no.
        """
        if self.ok is None:
            raise Refused.from_wire(self.error)
        return dict(self.ok)


def _header(message: Request | TaskRequest) -> dict[str, Any]:
    header: dict[str, Any] = {"v": VERSION, "id": message.id, "exp": message.exp}
    if message.session is not None:
        header["session"] = message.session
    if message.key is not None:
        header["key"] = message.key
    return header


def _read_header(fields: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(fields.get("id"), str) or not _ID.fullmatch(fields["id"]):
        raise BadRequest("The message id must be a UUID.", field="id")
    return {
        "id": fields["id"],
        "exp": _seconds(fields.get("exp")),
        "session": _optional_text(fields, "session", _LONGEST_SESSION),
        "key": _optional_text(fields, "key", _LONGEST_KEY),
    }


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadRequest("The expiry must be a number: unix seconds.", field="exp")
    try:
        return float(value)
    except OverflowError:
        raise BadRequest("The expiry is out of range.", field="exp") from None


def _optional_text(fields: Mapping[str, Any], name: str, longest: int) -> str | None:
    text = fields.get(name)
    if text is None:
        return None
    if not isinstance(text, str) or not 0 < len(text) <= longest or not text.isprintable():
        raise BadRequest(f"{name} must be 1 to {longest} printable characters.", field=name)
    return text


def _dump(fields: Mapping[str, Any]) -> bytes:
    return _WRITER.encode(fields).encode()


def _load(plaintext: bytes) -> dict[str, Any]:
    """Read a JSON object of our version, refusing what other readers might read differently."""
    try:
        fields = _read(plaintext.decode())
        _check_text(plaintext, fields)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The message is not proper JSON in UTF-8.", field="") from error
    if not isinstance(fields, dict) or type(fields.get("v")) is not int or fields["v"] != VERSION:
        raise BadRequest(f'The message must be an object with "v": {VERSION}.', field="v")
    if plaintext.count(b"{") + plaintext.count(b"[") > DEEPEST:
        _check_depth(fields)
    return fields


def _read(text: str) -> Any:
    # `decode` also skips blanks at both ends; looking for them takes as long as reading a small message.
    if text.startswith("{"):
        value, end = _READER.raw_decode(text)
        if end == len(text):
            return value
    return _READER.decode(text)


def _not_json(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return fields


#: Made once: making them takes as long as reading a small message.
_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_READER = json.JSONDecoder(parse_constant=_not_json, parse_float=_finite, object_pairs_hook=_no_name_twice)


def _check_text(plaintext: bytes, fields: object) -> None:
    """Half a surrogate pair is a str here, but no text: no database and no page could take it."""
    if rb"\ud" in plaintext.lower():
        json.dumps(fields, ensure_ascii=False).encode()


def _check_depth(fields: object) -> None:
    layer = [fields]
    for _ in range(DEEPEST):
        layer = [child for parent in layer for child in _children(parent)]
        if not layer:
            return
    raise BadRequest(f"Objects and lists are nested deeper than {DEEPEST}.", field="")


def _children(parent: object) -> list[Any]:
    values = parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ()
    return [value for value in values if isinstance(value, (dict, list))]
