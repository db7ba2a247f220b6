"""What a site can set: config.py first, then the environment, each value checked at start.

Every name is written upper-case in config.py, and with ``OMSERVER_`` before it in the environment.
docs/configuration.md holds the table of them; there is no default secret.
"""

from __future__ import annotations

import ipaddress
import os
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from omserver_client.keyfile import PUBLISHED_SECRETS

from .backends import KINDS
from .errors import SettingsError
from .machines import RULE, host_name, read_name

PREFIX = "OMSERVER_"
#: Read from config.py of an original OMServer, refused if published; the bridge alone uses it.
SECRET_KEY = "SECRET_KEY"  # noqa: S105 -- the name of a setting, not a secret
#: What AUTO_PLATFORM may be, and the kind of connection that it means.
PLATFORMS = {"saltstack": "salt"} | {kind: kind for kind in KINDS if kind != "salt"}
#: What EXECUTOR may be: the master's own worker processes, or Celery workers, here or on other machines.
PROCESSES, CELERY = "processes", "celery"
#: Folders of the data folder, each of mode 0700.
FOLDERS = ("keys", "run", "logs")

#: Characters that the bridge's secret has at least.
SHORTEST_SECRET = 16

_CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """All settings of one copy of OMServer; `load_settings` makes it."""

    #: The data folder: database, keys, logs.
    home: Path
    rpyc_host: str
    rpyc_port: int
    web_host: str
    web_port: int
    #: An SQLAlchemy URL; it may hold a password, so it is not in the repr.
    database_url: str = field(repr=False)
    modules_dir: Path
    #: The config.py that was read, if there was one.
    config: Path | None
    #: The client key that web and omctl use; None means their own default under home.
    key_file: Path | None
    #: Worker processes of this machine, and whether they are the master's own: `PROCESSES` or `CELERY`.
    workers: int
    executor: str
    #: What this machine is called, where connections say which machines serve them.
    machine: str
    #: Where masters and Celery workers meet; it may hold a password.
    broker_url: str = field(repr=False)
    #: The authorities that vouch for a broker over TLS; None: those of this machine.
    broker_ca_file: Path | None
    #: Seconds after which the remote name Runcommands answers with the states so far.
    runcommands_wait: int
    #: Bytes of the longest message accepted.
    max_frame: int
    #: The master's certificate and its key; both or none. The authority whose clients alone may connect.
    tls_cert: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    #: Days after a job's end that its outputs and it itself are kept, and days that audit rows are.
    keep_output_days: int
    keep_jobs_days: int
    keep_audit_days: int
    #: Bytes that all outputs may take, as they are stored; None: any number.
    keep_output_bytes: int | None
    #: A job on more hosts than that needs their number said, unless its module names a number of its own.
    confirm_above: int
    #: The most jobs that run at once, of one person and in all; 0: as many as the workers can.
    max_jobs_per_person: int
    max_jobs: int
    #: The program that is started when a job is paused; None: nobody is told.
    on_pause: Path | None
    #: A key of `PLATFORMS`: hosts that are added without a connection get the site's one of that kind.
    auto_platform: str
    #: Programs of 2014 are served, from these IP addresses only, under this secret.
    allow_rc4_clients: bool
    rc4_client_addresses: tuple[str, ...]
    secret_key: str = field(repr=False)

    def key_for(self, program: str) -> Path:
        """The client key file of *program* (``web`` or ``omctl``)."""
        return self.key_file or self.home / "keys" / f"{program}.key"

    @property
    def site_key(self) -> Path:
        """The file of the key that outputs and client keys are encrypted with."""
        return self.home / "site.key"


@dataclass(frozen=True)
class _Rule:
    """How one setting is read: what it must be (for the error), its default, and the check."""

    expected: str
    default: object
    read: Callable[[object], object]


def load_settings(env: Mapping[str, str] | None = None) -> Settings:
    """Read config.py and then *env* (the process's own by default), and check every value.

    Raises:
        SettingsError: a value or a name is wrong, config.py cannot be read, or a secret that was
            published with the original OMServer is in use.
    """
    environ = os.environ if env is None else env
    config = _config_path(environ)
    given = _from_config(config)
    given.update((name, environ[PREFIX + name]) for name in (*_RULES, SECRET_KEY) if PREFIX + name in environ)
    _refuse_published(given)
    values = {name.lower(): _checked(name, given) for name in _RULES}
    home = values["home"]
    _check_tls(values)
    _check_executor(values)
    values["secret_key"] = _secret_key(given)
    _check_bridge(values)
    values["database_url"] = values["database_url"] or f"sqlite:///{home}/omserver.db"
    return Settings(config=config, **values)  # type: ignore[arg-type] # each rule reads its own type


def open_home(settings: Settings) -> Path:
    """Make the data folder and its own folders, mode 0700, where they do not exist yet.

    Raises:
        SettingsError: it cannot be made, or it holds something already and others may look into it.
    """
    try:
        _private_folder(settings.home)
        for name in FOLDERS:
            _private_folder(settings.home / name)
    except OSError as error:
        raise SettingsError(f"The data folder {settings.home} cannot be made: {error.strerror}.") from error
    return settings.home


def check_on_pause(settings: Settings) -> None:
    """See to it that whoever carries out jobs here can start the program of ``ON_PAUSE``, if there is one.

    Raises:
        SettingsError: it cannot.
    """
    program = settings.on_pause
    if program is not None and not (program.is_file() and os.access(program, os.X_OK)):
        raise SettingsError(f"ON_PAUSE names {program}, which is no file that can be executed here.")


def setting_names() -> tuple[str, ...]:
    """Every name that config.py and, with the prefix, the environment may set."""
    return ("CONFIG", *_RULES, SECRET_KEY)


def _private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folder.stat().st_mode & 0o077:
        return
    if any(folder.iterdir()):
        raise SettingsError(f"The folder {folder} can be read by others; run: chmod 700 {folder}")
    folder.chmod(0o700)


def _config_path(environ: Mapping[str, str]) -> Path | None:
    named = environ.get(PREFIX + "CONFIG")
    if named:
        return _path(named)
    beside = _CHECKOUT / "config.py"
    in_checkout = beside.is_file() and (_CHECKOUT / "modules").is_dir()
    return beside if in_checkout else None


def _from_config(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        found = runpy.run_path(str(path))
    except Exception as error:  # config.py is the site's own code and may raise anything
        raise SettingsError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    given = {name: value for name, value in found.items() if name.isupper() and not name.startswith("_")}
    for name in given:
        _check_known(name, path)
    return given


def _check_known(name: str, path: Path) -> None:
    if name in _RULES or name == SECRET_KEY:
        return
    near = get_close_matches(name, [*_RULES, SECRET_KEY], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise SettingsError(f"{path} sets {name}, which is not a setting.{hint}")


def _refuse_published(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if any(secret in str(value) for secret in PUBLISHED_SECRETS):
            raise SettingsError(f"{name} holds a secret that was published in 2014; everybody knows it.")


def _checked(name: str, given: Mapping[str, object]) -> object:
    rule = _RULES[name]
    value = given.get(name, rule.default)
    if value is rule.default:
        return _path(value) if isinstance(value, str) and rule.read is _path else value
    try:
        return rule.read(value)
    except SettingsError:
        raise
    except (ValueError, TypeError) as error:
        shown = "the value given" if name in _SECRET else repr(value)
        raise SettingsError(f"{name} must be {rule.expected}, not {shown}.") from error


def _check_tls(values: Mapping[str, object]) -> None:
    if (values["tls_cert"] is None) != (values["tls_key"] is None):
        raise SettingsError("TLS_CERT and TLS_KEY go together: set both or none.")
    if values["tls_client_ca"] is not None and values["tls_cert"] is None:
        raise SettingsError("TLS_CLIENT_CA needs TLS_CERT and TLS_KEY.")
    if values["tls_cert"] is None and not _is_loopback(str(values["rpyc_host"])):
        raise SettingsError(
            f"RPYC_HOST is {values['rpyc_host']}, which others can reach: that needs TLS_CERT and TLS_KEY"
            " (omserver tls make)."
        )


def _check_executor(values: Mapping[str, object]) -> None:
    if values["executor"] == CELERY and not values["broker_url"]:
        raise SettingsError(
            'EXECUTOR = "celery" needs BROKER_URL: the Redis or RabbitMQ where masters and workers meet.'
        )


def _secret_key(given: Mapping[str, object]) -> str:
    """An original's config.py may hold anything here: what it must be is checked where it is used."""
    value = given.get(SECRET_KEY, "")
    return value if isinstance(value, str) else ""


def _check_bridge(values: Mapping[str, object]) -> None:
    if not values["allow_rc4_clients"]:
        return
    if not values["rc4_client_addresses"]:
        raise SettingsError(
            "ALLOW_RC4_CLIENTS needs RC4_CLIENT_ADDRESSES: the IP addresses of the programs of 2014."
        )
    secret = str(values["secret_key"])
    if len(secret) < SHORTEST_SECRET or len(set(secret)) < SHORTEST_SECRET // 2:
        raise SettingsError(
            f"ALLOW_RC4_CLIENTS needs a SECRET_KEY of at least {SHORTEST_SECRET} characters that nobody can"
            " guess; the programs of 2014 have the same in their config.py."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _whole(lowest: int, highest: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise TypeError
        number = int(value)
        if not lowest <= number <= highest:
            raise ValueError
        return number

    return read


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValueError
    return Path(value).expanduser().absolute()


def _program(value: object) -> Path | None:
    """A program that is started as it is: never found by PATH, nor beside whoever starts us."""
    if value == "":
        return None
    if not isinstance(value, str | Path) or not Path(value).is_absolute() or "\0" in str(value):
        raise ValueError
    return Path(value)


def _host(value: object) -> str:
    if not isinstance(value, str) or not value or any(letter.isspace() or letter == "/" for letter in value):
        raise ValueError
    return value


def _platform(value: object) -> str:
    if value not in PLATFORMS:
        raise ValueError
    return str(value)


#: The drivers we ship for each kind of database.
_DRIVERS = {
    "sqlite": "sqlite",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def _database_url(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    scheme, mark, rest = value.partition("://")
    if not mark or scheme not in _DRIVERS or not rest.strip("/"):
        raise ValueError
    return f"{_DRIVERS[scheme]}://{rest}"


#: Redis and RabbitMQ; with an s at the end of the word, over TLS. What TLS verifies is no matter of the URL.
_BROKERS = ("redis", "rediss", "amqp", "amqps")


def _broker_url(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    parts = urlsplit(value)
    if parts.scheme not in _BROKERS or not parts.hostname or parts.port == 0 or parts.query:
        raise ValueError
    return value


def _executor(value: object) -> str:
    if value not in (PROCESSES, CELERY):
        raise ValueError
    return str(value)


def _switch(value: object) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in words:
        raise ValueError
    return words[value.lower()]


def _addresses(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(str(ipaddress.ip_address(str(word))) for word in value)


#: These are not shown when they are wrong: they may hold a password.
_SECRET = ("DATABASE_URL", "BROKER_URL")
_PORT = _whole(1, 65535)
_DAYS = ("a whole number of days from 1 to 36500", _whole(1, 36_500))

_RULES: dict[str, _Rule] = {
    "HOME": _Rule("a folder's path", "~/.omserver", _path),
    "RPYC_HOST": _Rule("a host name or an address", "127.0.0.1", _host),
    "RPYC_PORT": _Rule("a whole number from 1 to 65535", 11511, _PORT),
    "WEB_HOST": _Rule("a host name or an address", "127.0.0.1", _host),
    "WEB_PORT": _Rule("a whole number from 1 to 65535", 8511, _PORT),
    "DATABASE_URL": _Rule("a URL that begins with sqlite, mariadb, mysql or postgresql", "", _database_url),
    "MODULES_DIR": _Rule("a folder's path", str(_CHECKOUT / "modules"), _path),
    "KEY_FILE": _Rule("a file's path", None, _path),
    "WORKERS": _Rule("a whole number from 1 to 64", 2, _whole(1, 64)),
    "EXECUTOR": _Rule(f"{PROCESSES} or {CELERY}", PROCESSES, _executor),
    "MACHINE": _Rule(RULE, host_name(), read_name),
    "BROKER_URL": _Rule("a URL that begins with " + ", ".join(_BROKERS), "", _broker_url),
    "BROKER_CA_FILE": _Rule("a file's path", None, _path),
    "RUNCOMMANDS_WAIT": _Rule("a whole number of seconds from 1 to 86400", 600, _whole(1, 86400)),
    "MAX_FRAME": _Rule(
        "a whole number of bytes from 65536 to 67108864", 8 * 1024 * 1024, _whole(65536, 64 * 1024 * 1024)
    ),
    "TLS_CERT": _Rule("a file's path", None, _path),
    "TLS_KEY": _Rule("a file's path", None, _path),
    "TLS_CLIENT_CA": _Rule("a file's path", None, _path),
    "CONFIRM_ABOVE": _Rule("a whole number from 1 to 1000000", 50, _whole(1, 1_000_000)),
    "MAX_JOBS_PER_PERSON": _Rule("a whole number from 0 to 100000", 0, _whole(0, 100_000)),
    "MAX_JOBS": _Rule("a whole number from 0 to 100000", 0, _whole(0, 100_000)),
    "ON_PAUSE": _Rule("the absolute path of a program", None, _program),
    "ALLOW_RC4_CLIENTS": _Rule("True or False (1 or 0)", False, _switch),
    "RC4_CLIENT_ADDRESSES": _Rule("IP addresses, divided by commas", (), _addresses),
    "KEEP_OUTPUT_DAYS": _Rule(_DAYS[0], 90, _DAYS[1]),
    "KEEP_JOBS_DAYS": _Rule(_DAYS[0], 400, _DAYS[1]),
    "KEEP_AUDIT_DAYS": _Rule(_DAYS[0], 1100, _DAYS[1]),
    "KEEP_OUTPUT_BYTES": _Rule("a whole number of bytes from 1000000 on", None, _whole(1_000_000, 2**62)),
    "AUTO_PLATFORM": _Rule("one of " + ", ".join(PLATFORMS), "saltstack", _platform),
}
