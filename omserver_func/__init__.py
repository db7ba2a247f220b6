"""Func for Python 3: the overlord's client, the minion daemon and the certificate tool.

Talks to the Func of 2007 to 2013 as it is, over the same XML-RPC on TLS with certificates on both sides.

    from omserver_func import Overlord

    Overlord("web*;db-01").command.run("uptime")    # {"web-01": [0, " 10:04 up ...", ""], ...}

| file | what it is |
| --- | --- |
| `overlord.py`, `overlordjobs.py`, `local.py` | `Overlord`: calls, background jobs, helpers on this side |
| `names.py` | which hosts a text like `@web;db*` means |
| `transport.py` | one connection to one minion, checked by name, with a deadline |
| `wire.py`, `tls.py`, `subject.py` | XML-RPC documents, TLS profiles, what a certificate says |
| `server.py`, `dispatch.py`, `acl.py`, `minionjobs.py` | the minion: who may call what, and the call |
| `modules/` | what a minion can do; a site adds its own classes that derive from `FuncModule` |
| `daemon.py`, `programs.py` | one minion; programs that it runs under a name of the caller's choice |
| `funcd.py` | the command `omserver-funcd` |
| `certificates.py`, `certmaster.py`, `cli.py` | the command `omserver-func` |

Needs the standard library and `cryptography`, and imports nothing else of OMServer. Times are seconds.
"""

from __future__ import annotations

from .errors import FuncClientError
from .module import FuncModule
from .overlord import Client, Overlord

__all__ = ["Client", "FuncClientError", "FuncModule", "Overlord"]
