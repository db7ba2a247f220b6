"""The Salt master on this machine, by its own sockets and files.

Salt is imported when a bus is first used, not before: it takes half a second and 50 MB.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..base import ConnectionDown
from .bus import MaybeSent, SaltBus
from .channel import DOOR_TIMEOUT, Channel, NoAnswer, NotThere
from .events import EVENT_SOCKET, Subscription
from .job import kept_seconds

#: Seconds for one publish; the master answers within 0.02 s when it is well.
PUBLISH_TIMEOUT = 5

_import_lock = threading.Lock()


def import_salt() -> Any:
    """The ``salt`` package with what we use of it loaded, and its messages kept off our standard error."""
    with _import_lock:
        return _import_once()


@cache
def _import_once() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import salt._logging
        import salt.channel.client
        import salt.client
        import salt.config
        import salt.exceptions
        import salt.payload
        import salt.utils.args
        import salt.utils.event
        import salt.utils.jid
        import salt.utils.network

        salt._logging.shutdown_temp_handler()
        # Salt's hook for imports of a library that we don't use; with it in place each later import of
        # anything warns.
        sys.meta_path[:] = [hook for hook in sys.meta_path if type(hook).__name__ != "NaclImporter"]
        logging.getLogger("salt").setLevel(logging.CRITICAL)
        return salt


class LocalSaltBus(SaltBus):
    """Publishes and listens, for all jobs of one connection. Safe to use from several threads."""

    def __init__(self, config_dir: Path) -> None:
        super().__init__()
        self._config = config_dir / "master"
        self._client: Any = None
        self._channel: Channel | None = None
        self._client_lock = threading.Lock()
        self._known_options: Any = None
        self._options_of = 0
        self._options_lock = threading.Lock()

    def why_down(self) -> str:
        """Why the Salt master cannot be used just now; see `SaltBus`.

        Whose events are heard is there: their stream ends with the process that hands them out.
        """
        try:
            options = self._options()
        except OSError as error:
            return f"The Salt master's configuration can't be read: {error}."
        sockets = Path(options["sock_dir"])
        if not self._listening.is_set() and not self._opens(socket.AF_UNIX, str(sockets / EVENT_SOCKET)):
            return f"The Salt master does not run: nobody listens in {sockets}."
        address = (str(options["interface"]).replace("0.0.0.0", "127.0.0.1"), int(options["ret_port"]))  # noqa: S104
        if not self._opens(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, address):
            return f"The Salt master does not listen on {address[0]}:{address[1]}."
        return ""

    def publish(
        self,
        jid: str,
        function: str,
        keywords: Mapping[str, Any],
        arguments: Sequence[str],
        minions: list[str],
    ) -> set[str]:
        """Send one job to exactly these *minions*; those of them that the master knows.

        Raises:
            ConnectionDown: it was not sent.
            MaybeSent: nobody can tell whether it was.
        """
        knocks = self._channel is not None and self._channel.knocks
        if not knocks and (reason := self.why_down()):
            raise ConnectionDown(reason)
        salt = import_salt()
        values = salt.utils.args.condition_input(list(arguments), dict(keywords) or None)
        with self._client_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for last_try in (False, True):
                try:
                    return self._publish(salt, jid, function, values, minions)
                except salt.exceptions.AuthenticationError as error:
                    # The master made itself a new key since our client read it.
                    self._drop_client()
                    if last_try:
                        raise ConnectionDown(f"The Salt master refuses our key: {error}.") from error
        raise AssertionError("unreachable")

    def cached(self, jid: str, minions: Iterable[str]) -> dict[str, Any] | None:
        """What *minions* returned for *jid*, if the master's job cache has it; None if it knows no such job.

        Raises:
            ConnectionDown: the job cache cannot be read.
        """
        salt = import_salt()
        with self._client_lock:
            try:
                client = self._get_client(salt)
                cache = client.opts["master_job_cache"]
                if not client.returners[f"{cache}.get_load"](jid):
                    return None
                if cache == "local_cache":
                    return _read_returns(salt, client.opts, jid, minions)
                found = client.returners[f"{cache}.get_jid"](jid)
                return {minion: found[minion].get("return") for minion in minions if minion in found}
            except (salt.exceptions.SaltException, OSError, KeyError) as error:
                raise ConnectionDown(f"The Salt master's job cache can't be read: {error}.") from error

    def surely_kept(self) -> float:
        """How long the job cache keeps a job, as the master's configuration has it; see `SaltBus`."""
        try:
            options = self._options()
            return kept_seconds(options) if (Path(options["cachedir"]) / "jobs").is_dir() else 0.0
        except (OSError, KeyError):
            return 0.0

    def learn_keys(self, minions: Iterable[str], afresh: bool = False) -> None:
        """Nothing to do: the keys are files beside us."""

    def key_of(self, minion: str) -> bytes | None:
        """The accepted key of *minion*; see `SaltBus`."""
        if "/" in minion or minion in ("", ".", ".."):
            return None
        try:
            return (self._keys() / minion).read_bytes()
        except OSError:
            return None

    def accepted(self) -> list[str]:
        """The ids of all minions with an accepted key; see `SaltBus`."""
        try:
            return sorted(file.name for file in self._keys().iterdir() if not file.name.startswith("."))
        except OSError as error:
            raise ConnectionDown(f"The keys of the Salt master can't be read: {error}.") from error

    def close(self) -> None:
        """Stop listening and let go of the client."""
        super().close()
        with self._client_lock:
            self._drop_client()

    def _keys(self) -> Path:
        return Path(self._options()["pki_dir"]) / "minions"

    def _publish(self, salt: Any, jid: str, function: str, values: Any, minions: list[str]) -> set[str]:
        """What ``LocalClient.pub`` does, but over a channel that stays open: a new one takes 3 ms of CPU."""
        client = self._get_client(salt)
        load = {"cmd": "publish", "tgt": minions, "tgt_type": "list", "fun": function, "arg": values}
        load |= {"jid": jid, "key": client.key, "user": client.salt_user}
        load["ret"] = client.opts.get("ext_job_cache") or ""
        if client.opts["order_masters"]:
            load["to"] = PUBLISH_TIMEOUT
        self._channel = self._channel or Channel(salt, client.opts)
        try:
            said = self._channel.ask(load, PUBLISH_TIMEOUT)
        except NotThere as error:
            self._drop_client()
            raise ConnectionDown(self.why_down() or "The Salt master does not take jobs.") from error
        except NoAnswer as error:
            self._drop_client()
            raise MaybeSent("The Salt master took the job and then fell silent.") from error
        except salt.exceptions.SaltException as error:
            self._drop_client()
            raise ConnectionDown(f"The Salt master can't be asked: {error}.") from error
        name, words = _error(said)
        if name == "AuthenticationError":
            raise salt.exceptions.AuthenticationError(words)
        if "could not resolve" in words.lower() or "no minions" in words.lower():
            return set()
        if name:
            raise ConnectionDown(f"The Salt master refuses the job: {words}.")
        return set(said["load"]["minions"])

    def _options(self) -> Any:
        """The master's configuration, read again when the file has changed."""
        changed = self._config.stat().st_mtime_ns
        with self._options_lock, warnings.catch_warnings():
            if self._options_of != changed:
                warnings.simplefilter("ignore")
                self._known_options = import_salt().config.client_config(str(self._config))
                self._options_of = changed
            return self._known_options

    def _opens(self, family: int, address: Any) -> bool:
        with socket.socket(family) as door, contextlib.suppress(OSError):
            door.settimeout(DOOR_TIMEOUT)
            door.connect(address)
            return True
        return False

    def _get_client(self, salt: Any) -> Any:
        if self._client is None:
            self._client = salt.client.LocalClient(mopts=self._options().copy())
        return self._client

    def _drop_client(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        client, self._client = self._client, None
        if client is not None:
            client.destroy()

    def _hear(self) -> None:
        """Hand out returns until the subscription is lost."""
        if self.why_down():
            return
        salt = import_salt()
        with contextlib.closing(Subscription(salt, self._options())) as subscription:
            self._subscribed()
            for tag, body in subscription.events():
                if self._closing.is_set():
                    return
                if self._who_waits(tag) is not None:
                    self._hand_out(tag, subscription.content(body))


def _error(said: Any) -> tuple[str, str]:
    """The name of an error in the master's answer to a publish, and its words; empty if there is none."""
    error = said.get("error") if isinstance(said, Mapping) else said
    if isinstance(error, Mapping):
        return str(error.get("name") or "error"), str(error.get("message"))
    if error:
        return "error", str(error)
    if isinstance(said, Mapping) and isinstance(said.get("load"), Mapping) and "minions" in said["load"]:
        return "", ""
    # So it answers a key that is not its own (any more).
    return "AuthenticationError", "it gave no answer to our key"


def _read_returns(salt: Any, options: Any, jid: str, minions: Iterable[str]) -> dict[str, Any]:
    """Read the job cache's own files: Salt's reader tries a damaged one for ever."""
    folder = Path(salt.utils.jid.jid_dir(jid, str(Path(options["cachedir"]) / "jobs"), options["hash_type"]))
    returns = {}
    for minion in minions:
        if "/" in minion:
            continue
        try:
            content = salt.payload.loads((folder / minion / "return.p").read_bytes())
        except (OSError, salt.exceptions.SaltException):
            continue
        if isinstance(content, Mapping) and "return" in content:
            returns[minion] = content["return"]
    return returns
