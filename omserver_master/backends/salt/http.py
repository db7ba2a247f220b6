"""A Salt master behind salt-api (rest_cherrypy): HTTP with a token, and its events as one stream."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from ..base import ConnectionDown
from .bus import MaybeSent, SaltBus

log = logging.getLogger(__name__)

#: Seconds for a question about the control point, which has to be answered quickly.
PROBE_TIMEOUT = 1.8
#: Seconds for which a good answer holds, to that question or any other: asking costs the master 0.1 s of CPU.
_PROBE_HOLDS = 2.0
#: Seconds of silence after which the stream of events is made anew.
SILENCE = 60.0
#: A token is renewed when less than this part of its life is left.
_RENEW_AT = 0.1
#: The longest line of the stream, in bytes; an event is one.
MAX_LINE = 64 * 1024 * 1024
#: The longest answer to one order, in bytes; a job's whole entry in the job cache is one.
MAX_REPLY = 256 * 1024 * 1024
#: More unknown keys than that are asked for all at once.
_FEW_KEYS = 3
#: A minion id that nobody has, to ask whether the master answers at all.
_NOBODY = "omserver-asks-whether-you-are-there"

#: A dead machine at the other end is noticed within half a minute.
_KEEP_ALIVE = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, socket_options=_KEEP_ALIVE)


@dataclass(frozen=True)
class _Reply:
    """An answer that was read to its end."""

    status_code: int
    reason: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Refused(ConnectionDown):
    """salt-api answered, and would not do it."""


class NotSent(ConnectionDown):
    """Nobody was there to send it to."""


class HttpSaltBus(SaltBus):
    """Publishes and listens through salt-api, for all jobs of one connection.

    *login* is what ``/login`` wants. *verify* is what the server's certificate is held against: a file of
    certificates, or True for the system's.
    """

    PATIENCE = 5.0

    def __init__(
        self, url: str, login: Mapping[str, str], verify: str | bool, timeout: float, callers: int = 32
    ) -> None:
        super().__init__()
        self._url = url.rstrip("/")
        self._login = dict(login)
        self._timeout = timeout
        self._session = requests.Session()
        self._session.verify = verify
        # No proxy and no .netrc of whoever starts the worker.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers["Accept"] = "application/json"
        adapter = _Adapter(pool_maxsize=callers, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._token = ""
        self._token_ends = 0.0
        self._token_lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        self._up_until = 0.0
        self._stream: requests.Response | None = None

    def why_down(self) -> str:
        """Why the Salt master cannot be used just now; see `SaltBus`."""
        try:
            self._wheel_keys(_NOBODY, PROBE_TIMEOUT)
        except ConnectionDown as down:
            return str(down)
        return ""

    def just_answered(self) -> bool:
        """Whether the last order was carried out, a moment ago; see `SaltBus`."""
        return time.monotonic() < self._up_until

    def publish(
        self,
        jid: str,
        function: str,
        keywords: Mapping[str, Any],
        arguments: Sequence[str],
        minions: list[str],
    ) -> set[str]:
        """Send one job; see `SaltBus`."""
        if not self.just_answered() and (reason := self.why_down()):
            raise ConnectionDown(reason)
        low: dict[str, Any] = {"client": "local_async", "tgt": minions, "tgt_type": "list", "fun": function}
        low |= {"jid": jid, "arg": list(arguments), "kwarg": dict(keywords)}
        try:
            sent = self._run(low, self._timeout)
        except (Refused, NotSent):
            raise
        except ConnectionDown as down:
            raise MaybeSent(f"Nobody can tell whether the job was sent: {down}") from down
        if sent == {}:
            # Nobody: none of them has a key that the master accepted.
            return set()
        if (
            not isinstance(sent, Mapping)
            or sent.get("jid") != jid
            or not isinstance(sent.get("minions"), list)
        ):
            raise MaybeSent("salt-api took the job and answered something else than its job id.")
        return {minion for minion in sent["minions"] if isinstance(minion, str)}

    def cached(self, jid: str, minions: Iterable[str]) -> dict[str, Any] | None:
        """What the job cache has; see `SaltBus`."""
        job = self._run({"client": "runner", "fun": "jobs.list_job", "kwarg": {"jid": jid}}, self._timeout)
        if not isinstance(job, Mapping) or "Result" not in job:
            raise ConnectionDown(f"The Salt master's job cache can't be read: {str(job)[:200]}.")
        if "Error" in job or not job.get("Function"):
            return None
        results = job["Result"] if isinstance(job["Result"], Mapping) else {}
        return {
            minion: results[minion]["return"]
            for minion in minions
            if isinstance(results.get(minion), Mapping) and "return" in results[minion]
        }

    def learn_keys(self, minions: Iterable[str], afresh: bool = False) -> None:
        """Ask the master for keys; see `SaltBus`."""
        wanted = [minion for minion in minions if afresh or minion not in self._keys]
        if len(wanted) > _FEW_KEYS:
            self._keys = self._wheel_keys("*", self._timeout)
            return
        for minion in wanted:
            if set("*?[]") & set(minion):
                continue
            found = self._wheel_keys(minion, self._timeout)
            if minion in found:
                self._keys[minion] = found[minion]
            else:
                self._keys.pop(minion, None)

    def key_of(self, minion: str) -> bytes | None:
        """The accepted key of *minion*; see `SaltBus`."""
        return self._keys.get(minion)

    def accepted(self) -> list[str]:
        """The ids of all minions with an accepted key; see `SaltBus`."""
        self._keys = self._wheel_keys("*", self._timeout)
        return sorted(self._keys)

    def close(self) -> None:
        """Stop listening and hang up."""
        self._closing.set()
        stream = self._stream
        if stream is not None:
            _cut(stream)
        super().close()
        self._session.close()

    def _wheel_keys(self, match: str, timeout: float) -> dict[str, bytes]:
        said = self._run({"client": "wheel", "fun": "key.print", "match": match}, timeout)
        data = said.get("data") if isinstance(said, Mapping) else None
        # Salt calls the function key_str in its code and print outside.
        if not isinstance(data, Mapping) or not data.get("success"):
            self._up_until = 0.0
            raise Refused(f"The Salt master tells no keys: {_short(said)}")
        keys = data.get("return", {}).get("minions", {})
        return {minion: key.encode() for minion, key in keys.items() if isinstance(key, str)}

    def _run(self, low: Mapping[str, Any], timeout: float) -> Any:
        """What salt-api answers to one order."""
        reply = self._post("", [low], timeout)
        if reply.status_code == 401:
            self._token_ends = 0.0
            reply = self._post("", [low], timeout)
        if reply.status_code in (502, 503, 504):
            self._up_until = 0.0
            raise ConnectionDown(f"The Salt master behind {self._url} does not answer.")
        if reply.status_code != 200:
            self._up_until = 0.0
            raise Refused(f"salt-api at {self._url} refuses: {_problem(reply)}")
        try:
            said = reply.json()["return"][0]
        except (ValueError, LookupError, TypeError) as error:
            raise ConnectionDown(f"What answers at {self._url} is no salt-api.") from error
        if isinstance(said, str):
            raise Refused(f"salt-api at {self._url} refuses: {_short(said)}")
        self._up_until = time.monotonic() + _PROBE_HOLDS
        return said

    def _post(self, path: str, body: Any, timeout: float) -> _Reply:
        headers = {"X-Auth-Token": self._valid_token()} if path != "/login" else {}
        deadline = time.monotonic() + timeout
        with self._clear_errors():
            reply = self._session.post(
                f"{self._url}{path}",
                json=body,
                headers=headers,
                timeout=(min(timeout, PROBE_TIMEOUT), timeout),
                allow_redirects=False,
                stream=True,
            )
            with contextlib.closing(reply):
                text = _body(reply, deadline)
        if text is None:
            self._up_until = 0.0
            raise ConnectionDown(f"The answer of salt-api at {self._url} is too long or takes too long.")
        return _Reply(reply.status_code, reply.reason or "", text)

    def _valid_token(self) -> str:
        with self._token_lock:
            if time.monotonic() < self._token_ends:
                return self._token
            reply = self._post("/login", self._login, max(self._timeout, PROBE_TIMEOUT))
            if reply.status_code in (502, 503, 504):
                raise ConnectionDown(f"The Salt master behind {self._url} does not answer.")
            if reply.status_code != 200:
                raise Refused(f"salt-api at {self._url} refuses the login: {_problem(reply)}")
            try:
                said = reply.json()["return"][0]
                self._token, life = said["token"], float(said["expire"]) - float(said["start"])
            except (ValueError, LookupError, TypeError) as error:
                raise ConnectionDown(f"What answers at {self._url} is no salt-api.") from error
            self._token_ends = time.monotonic() + life * (1 - _RENEW_AT)
            return self._token

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Errors of the network as one line that says where, and nothing of what was sent."""
        try:
            yield
        except requests.exceptions.SSLError as error:
            self._up_until = 0.0
            reason = str(error.args[0] if error.args else error)[-160:]
            raise NotSent(f"The certificate of {self._url} is not trusted: {reason}") from error
        except requests.exceptions.ConnectTimeout as error:
            self._up_until = 0.0
            raise NotSent(f"Nothing answers at {self._url}.") from error
        except requests.exceptions.Timeout as error:
            self._up_until = 0.0
            raise ConnectionDown(f"salt-api at {self._url} does not answer in time.") from error
        except (requests.exceptions.RequestException, OSError, HTTPError) as error:
            self._up_until = 0.0
            what = f"salt-api at {self._url} can't be reached."
            raise (NotSent(what) if "NewConnectionError" in str(error) else ConnectionDown(what)) from error

    def _hear(self) -> None:
        """Hand out returns until the stream ends."""
        headers = {"X-Auth-Token": self._valid_token(), "Accept": "text/event-stream"}
        with self._clear_errors():
            stream = self._session.get(
                f"{self._url}/events",
                headers=headers,
                stream=True,
                timeout=(PROBE_TIMEOUT, SILENCE),
                allow_redirects=False,
            )
        with contextlib.closing(stream):
            if stream.status_code != 200:
                self._token_ends = 0.0
                raise Refused(f"salt-api at {self._url} gives no events: {_problem(stream)}")
            self._stream = stream
            for line in _lines(stream):
                if self._closing.is_set():
                    return
                if line.startswith(b"retry:"):
                    # The first line is sent when salt-api itself listens, so nothing is missed from here on.
                    self._subscribed()
                elif line.startswith(b"data:"):
                    self._hear_event(line[5:])

    def _hear_event(self, text: bytes) -> None:
        if b"/ret/" not in text[:2000] and b"/ret/" not in text[-2000:]:
            return
        try:
            event = json.loads(text)
        except ValueError:
            log.warning("%s: an event that is no JSON; dropped", self._url)
            return
        if isinstance(event, dict) and isinstance(event.get("tag"), str):
            self._hand_out(event["tag"], event.get("data"))


def _body(reply: requests.Response, deadline: float) -> bytes | None:
    """What comes with a reply; None if it is more than `MAX_REPLY` or does not end by *deadline*."""
    parts: list[bytes] = []
    size = 0
    while chunk := reply.raw.read1(1 << 16, decode_content=True):
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_REPLY or time.monotonic() > deadline:
            return None
    return b"".join(parts)


def _lines(stream: requests.Response) -> Iterator[bytes]:
    """The lines of a stream as they come.

    Raises:
        ConnectionDown: a line is longer than any event.
    """
    parts: list[bytes] = []
    size = 0
    while chunk := stream.raw.read1(1 << 16):
        first, *others = chunk.split(b"\n")
        parts.append(first)
        size += len(first)
        if size > MAX_LINE:
            raise ConnectionDown("An event is longer than any that Salt makes.")
        for other in others:
            yield b"".join(parts)
            parts, size = [other], len(other)


def _cut(stream: requests.Response) -> None:
    """End a stream that another thread reads: it wakes at once, with TLS still on."""
    connection = getattr(stream.raw, "connection", None) or getattr(stream.raw, "_connection", None)
    sock = getattr(connection, "sock", None)
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _problem(reply: requests.Response | _Reply) -> str:
    """What the server says, in one line; a page of HTML says nothing."""
    text = {401: "user, password, eauth or a right is wrong", 406: "it does not speak JSON"}.get(
        reply.status_code, ""
    )
    return f"{reply.status_code} {text or reply.reason}."


def _short(said: Any) -> str:
    return "".join(letter for letter in str(said)[:200] if letter.isprintable())
