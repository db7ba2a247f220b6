"""Where omctl finds its master: the environment, else ``client.json`` in the data folder, else here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import OMServerError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11511
FILE_NAME = "client.json"


class BadProfile(OMServerError, ValueError):
    """The settings for reaching the master cannot be used."""


@dataclass(frozen=True)
class Profile:
    """How one machine reaches its master.

    ``ca`` is the file of the certificate authority that the master's certificate is checked against;
    empty means plain TCP, which is for the loopback interface.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    key_file: str = ""
    ca: str = ""

    @property
    def address(self) -> str:
        """The master's address as people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def home() -> Path:
    """The data folder: ``OMSERVER_HOME``, else ``~/.omserver``."""
    return Path(os.environ.get("OMSERVER_HOME") or "~/.omserver").expanduser()


def load_profile() -> Profile:
    """The profile that holds here and now.

    Raises:
        BadProfile: a value of the file or of the environment is of no use.
    """
    values = _from_file(home() / FILE_NAME) | _from_environment()
    values.setdefault("key_file", str(home() / "keys" / "omctl.key"))
    try:
        return Profile(**values | {"port": check_port(values.get("port", DEFAULT_PORT))})
    except TypeError as error:
        raise BadProfile(f"{home() / FILE_NAME} holds a setting that is not known: {error}") from error


def check_port(value: object) -> int:
    """*value* as a port number.

    Raises:
        BadProfile: it is not a number from 1 to 65535.
    """
    if not str(value).isdecimal() or not 0 < int(str(value)) < 65536:
        raise BadProfile(f"The master's port must be a number from 1 to 65535, not {value!r}.")
    return int(str(value))


def save_profile(profile: Profile) -> Path:
    """Write *profile* into ``client.json`` of the data folder and say where that is."""
    path = home() / FILE_NAME
    write_private(path, json.dumps(asdict(profile), indent=2) + "\n")
    return path


def write_private(path: Path, text: str) -> None:
    """Put *text* into *path* below the data folder, mode 0600, at once or not at all.

    The data folder, and the one in it, are made when missing (0700).
    """
    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
    unfinished.replace(path)


def read_object(path: Path) -> Mapping[str, Any]:
    """The JSON object in *path*; an empty one when there is no such file.

    Raises:
        BadProfile: it cannot be read, or is not a JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadProfile(f"{path} cannot be used: {error}") from error
    if not isinstance(content, dict):
        raise BadProfile(f"{path} cannot be used: it is not a JSON object.")
    return content


def _from_file(path: Path) -> dict[str, Any]:
    return dict(read_object(path))


def _from_environment() -> dict[str, Any]:
    names = {"host": "RPYC_HOST", "port": "RPYC_PORT", "key_file": "KEY_FILE", "ca": "CA_FILE"}
    found = {field: os.environ.get(f"OMSERVER_{name}", "") for field, name in names.items()}
    return {field: value for field, value in found.items() if value}
