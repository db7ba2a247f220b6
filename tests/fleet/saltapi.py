"""A real salt-api beside a fleet's Salt master: its own process, with TLS and users that may do little."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from omserver_master.demo.saltsite import free_ports
from omserver_master.wire.certificates import issue, make_authority

#: All that OMServer needs; docs/backends/salt-api.md has the same list.
RIGHTS = [
    {"*": ["cmd.run_all", "saltutil.term_job", "saltutil.kill_job", "test.ping", "grains.item"]},
    {"@wheel": ["key.print"]},
    {"@runner": ["jobs.list_job"]},
]
#: A user of the same site that may do something else.
OTHER = "monitoring"


def add_api(master: Path, folder: Path) -> dict[str, str]:
    """Let the master whose configuration is in *master* have an API; the settings of a connection to it.

    Keys, certificates and the secret go into *folder*.
    """
    folder.mkdir(mode=0o700)
    ca = make_authority(folder)
    certificate, key = issue(folder, "salt-api", ["127.0.0.1"], server=True)
    secret = secrets.token_urlsafe(24)
    [port] = free_ports(1)
    options = json.loads((master / "master").read_text())
    options |= {
        "sharedsecret": secret,
        "external_auth": {"sharedsecret": {"omserver": RIGHTS, OTHER: [{"*": ["test.version"]}]}},
        "netapi_enable_clients": ["local_async", "wheel", "runner"],
        "rest_cherrypy": {
            "host": "127.0.0.1",
            "port": port,
            "ssl_crt": str(certificate),
            "ssl_key": str(key),
        },
        "api_pidfile": str(folder / "pid"),
        "api_logfile": str(folder / "log"),
    }
    (master / "master").write_text(json.dumps(options, indent=1))
    return {
        "url": f"https://127.0.0.1:{port}",
        "user": "omserver",
        "password": secret,
        "eauth": "sharedsecret",
        "ca_file": str(ca),
    }
